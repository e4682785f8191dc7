#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>

#include "base/text.h"
#include "base/time.h"
#include "command.h"
#include "device_option.h"
#include "fleet/devices.h"
#include "fleet/local_queue.h"
#include "fleet/supervisor.h"
#include "fleet_slurm.h"
#include "generate.h"
#include "log.h"
#include "merge.h"
#include "progress.h"
#include "run/report.h"

namespace backlot {
namespace {

struct FleetRunOptions : GenerateOptions {
  std::string devices = "auto";
  int64_t attempts = 3;
  double hang_seconds = 900;
  std::string shard_text, engine = "local";
  SlurmOptions slurm;
  std::vector<std::string> merge;
};

// "auto" becomes every GPU, or the CPU where there is none. Throws UsageError, EnvironmentError.
std::vector<std::string> chosen_devices(const std::string& list) {
  std::vector<std::string> devices;
  for (const auto& word : split(list, ',')) {
    const std::string name(trim(word));
    check_device_name(name, "--devices");
    check_device(name, "--devices");
    if (name != "auto") {
      devices.push_back(name == "cuda" ? "cuda:0" : name);
      continue;
    }
    const auto all = list_devices();
    for (const auto& device : all)
      if (device.name != "cpu") devices.push_back(device.name);
    if (all.size() == 1) devices.push_back("cpu");
  }
  return devices;
}

std::shared_ptr<RunTarget> target_of(const PreparedRun& run, const RunFolder& folder,
                                     const FleetRunOptions& options) {
  auto target = std::make_shared<RunTarget>();
  target->folder = run.plan.run_folder;
  target->journals = folder.journal_prefix();
  target->output = run.plan.output;
  target->dtype = options.dtype;
  target->quantization = options.quantize;
  target->batch_size = options.batch_size;
  return target;
}

FleetOptions fleet_options(const FleetRunOptions& options) {
  return {.devices = chosen_devices(options.devices),
          .command = {fs::read_symlink("/proc/self/exe").string(), "fleet-worker"},
          .threads = options.threads,
          .hang_seconds = options.hang_seconds,
          .most_together = [wish = options.batch_size](const Item&, const std::string& device,
                                                       int64_t) -> int64_t {
            if (wish > 0) return wish;
            return device == "cpu" ? 4 : 16;
          }};
}

// Started when there is something to do, and kept for the runs that follow.
class Fleet {
 public:
  Fleet(const FleetRunOptions& options, FleetProgress& progress, const StopSignal& stop)
      : options_(fleet_options(options)), progress_(progress), stop_(stop) {}
  Supervisor& get() {
    if (!supervisor_) supervisor_.emplace(options_, progress_, stop_);
    return *supervisor_;
  }

 private:
  FleetOptions options_;
  FleetProgress& progress_;
  const StopSignal& stop_;
  std::optional<Supervisor> supervisor_;
};

RunTotals make_items(const PreparedRun& run, RunFolder& folder, Fleet& fleet,
                     const FleetRunOptions& options, FleetProgress& progress) {
  const Stopwatch watch;
  const Totals before = folder.own_totals();
  progress.begin({run.plan.name, before.items, before.done});
  for (const Item* item : folder.pending()) progress.item_queued(*item);
  std::exception_ptr failure;
  try {
    LocalQueue queue(folder, target_of(run, folder, options), options.attempts);
    if (!queue.finished()) fleet.get().run(queue);
  } catch (...) {
    failure = std::current_exception();
  }
  const Totals after = folder.own_totals();
  const RunTotals totals{.items = after.items,
                         .reused = before.done,
                         .done = after.done - before.done,
                         .failed = after.failed,
                         .pending = after.pending + after.failed,
                         .seconds = watch.seconds()};
  progress.end(totals);
  try {
    folder.write_manifest();
    build_report(folder.path());
  } catch (const Error&) {
    // What stopped the run (a full disk, say) matters more than that its summary failed too.
    if (!failure) throw;
  }
  if (failure) std::rethrow_exception(failure);
  return totals;
}

ExitCode merge(const FleetRunOptions& options) {
  if (options.output.empty())
    throw UsageError("--merge", "needs --output", "name the run folder that the others go into");
  const ExitCode code = merge_folders(options.merge, options.output);
  print_result(options.output);
  return code;
}

ExitCode fleet_run(const CLI::App& app, FleetRunOptions options, StopSignal& stop) {
  configure_log(options);
  check_run_options(options);
  if (!options.merge.empty()) return merge(options);
  if (!options.shard_text.empty()) options.shard = parse_shard(options.shard_text, "--shard");
  check_slurm_options(app, options.engine);
  const std::vector<PreparedRun> runs = prepare_runs(options);
  if (options.engine == "slurm")
    return run_fleet_on_slurm(app, runs, options, options.slurm, options.attempts, stop);
  if (options.dry_run) {
    for (const auto& run : runs) print_plan(run, options);
    return ExitCode::done;
  }
  const auto progress = make_fleet_progress(options.quiet ? "off" : options.progress);
  Fleet fleet(options, *progress, stop);
  ExitCode code = ExitCode::done;
  for (const auto& run : runs) {
    RunFolderOptions how;
    if (options.fresh) how.resume = Resume::start_over;
    how.shard = options.shard;
    RunFolder folder = RunFolder::open(run.plan.run_folder, run.plan, run.info, how);
    report_findings(folder);
    try {
      const RunTotals totals = make_items(run, folder, fleet, options, *progress);
      if (totals.failed > 0) code = ExitCode::items_failed;
      print_totals(run, totals, options.json);
    } catch (const Interrupted&) {
      log_warning("interrupted; run the same command again to go on");
      return stop.exit_code();
    }
  }
  return code;
}

}  // namespace

Run declare_fleet_run(CLI::App& app) {
  const auto options = std::make_shared<FleetRunOptions>();
  app.add_option("specs", options->specs, "job specs in YAML; several make a run folder each");
  app.add_option("--devices", options->devices,
                 "a worker process for each of the list: cpu, cuda:N; a device may stand in it "
                 "several times; auto: every GPU, else the CPU");
  app.add_option("--threads", options->threads,
                 "CPU threads of each worker (else workers on the CPU share what there is)")
      ->check(CLI::Range(1, 4096));
  app.add_option("--attempts", options->attempts,
                 "how often an item is tried that its workers did not outlive")
      ->check(CLI::Range(1, 1000));
  app.add_option("--hang-timeout", options->hang_seconds,
                 "seconds of silence after which a worker is taken for hung, where its own history "
                 "says no less")
      ->check(CLI::Range(1.0, 1e6));
  app.add_option("--shard", options->shard_text,
                 "K/N: make every N-th item from the K-th on; shards share a run folder or have "
                 "each their own");
  app.add_option("--merge", options->merge,
                 "put the run folders of shards together, as the run folder --output");
  app.add_option("--engine", options->engine,
                 "local: workers on this machine; slurm: the tasks of an array job")
      ->check(CLI::IsMember({"local", "slurm"}));
  declare_slurm_options(app, options->slurm);
  declare_run_options(app, *options);
  return [options, &app](StopSignal& stop) { return fleet_run(app, *options, stop); };
}

}  // namespace backlot
