#include "run/report.h"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "command.h"
#include "merge.h"

namespace backlot {
namespace {

struct ReportOptions {
  std::vector<std::string> folders;
  std::string output;
};

ExitCode merge_and_report(const ReportOptions& options) {
  const ExitCode code = merge_folders(options.folders, options.output);
  print_result((std::filesystem::path(options.output) / "report.html").string());
  return code;
}

}  // namespace

Run declare_report(CLI::App& app) {
  const auto options = std::make_shared<ReportOptions>();
  app.add_option("run_dir", options->folders,
                 "the run folder, which holds manifest.json; with --output the folders to merge")
      ->required();
  app.add_option("-o,--output", options->output,
                 "merge the shards' folders into this one, and report on it");
  return [options](StopSignal&) {
    if (!options->output.empty()) return merge_and_report(*options);
    if (options->folders.size() > 1)
      throw UsageError("report", "more than one run folder is given",
                       "name one, or merge them into a folder with --output DIR");
    const std::filesystem::path folder = options->folders.front();
    build_report(folder);
    print_result((folder / "report.html").string());
    return ExitCode::done;
  };
}

}  // namespace backlot
