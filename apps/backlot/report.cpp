#include "run/report.h"

#include <memory>

#include "command.h"

namespace backlot {

Run declare_report(CLI::App& app) {
  const auto folder = std::make_shared<std::string>();
  app.add_option("run_dir", *folder, "the run folder, which holds manifest.json")->required();
  return [folder](StopSignal&) {
    build_report(*folder);
    print_result((std::filesystem::path(*folder) / "report.html").string());
    return ExitCode::done;
  };
}

}  // namespace backlot
