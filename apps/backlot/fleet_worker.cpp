// The hidden command that fleet-run starts its workers with.
#include <memory>

#include "command.h"
#include "engine/loader.h"
#include "fleet/worker.h"

namespace backlot {

Run declare_fleet_worker(CLI::App& app) {
  struct Options {
    WorkerSettings settings;
    int channel = -1;
  };
  const auto options = std::make_shared<Options>();
  app.add_option("--name", options->settings.name, "its name in the fleet")->required();
  app.add_option("--device", options->settings.device, "cpu or cuda:N")->required();
  app.add_option("--threads", options->settings.threads, "CPU threads");
  app.add_flag("--previews", options->settings.previews, "small pictures of what is being made");
  app.add_option("--sharing", options->settings.sharing, "workers of the same device");
  app.add_option("--memory-limit", options->settings.memory_limit, "bytes that it may take");
  app.add_option("--channel", options->channel, "the descriptor of its end of the line")
      ->required();
  return [options](StopSignal& stop) {
    WorkerChannel channel{UniqueFd(options->channel)};
    return run_worker(channel, options->settings, load_engine, stop);
  };
}

}  // namespace backlot
