#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <optional>

#include "base/text.h"
#include "command.h"
#include "device_option.h"
#include "fleet/devices.h"
#include "fleet/faults.h"
#include "fleet/local_queue.h"
#include "fleet/supervisor.h"
#include "fleet_redis.h"
#include "fleet_slurm.h"
#include "generate.h"
#include "log.h"
#include "merge.h"
#include "progress.h"
#include "run/cached_results.h"
#include "texts.h"

namespace backlot {
namespace {

struct FleetRunOptions : GenerateOptions {
  std::string devices = "auto";
  int64_t attempts = 3;
  double hang_seconds = 900;
  std::string shard_text, engine = "local";
  RedisOptions redis;
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
  target->cache = cache_target(options.cache);
  target->allow_lower_precision = options.allow_lower_precision;
  target->checkpoint_steps = options.checkpoint_steps;
  return target;
}

// Those of --devices, which are there and can have what is asked for.
std::vector<std::string> fit_devices(const FleetRunOptions& options) {
  std::vector<std::string> devices = chosen_devices(options.devices);
  for (const auto& device : devices)
    insist_on_quantization(quantization_of(options.quantize), device);
  return devices;
}

FleetOptions fleet_options(const FleetRunOptions& options) {
  std::vector<std::string> command{fs::read_symlink("/proc/self/exe").string(), "fleet-worker"};
  if (options.progress == "json" && !options.quiet) command.push_back("--previews");
  return {
      .devices = fit_devices(options),
      .command = std::move(command),
      .threads = options.threads,
      .hang_seconds = options.hang_seconds,
      .most_together =
          [planner = std::make_shared<MemoryPlanner>(memory_wish(options))](
              const Item& item, const std::string& device, int64_t sharing) {
            return planner->most_together(item, device, sharing);
          },
      .memory_limit = [](const std::string& device, int64_t sharing) -> std::optional<uint64_t> {
        const uint64_t most = allowance(device_memory(device, sharing));
        return most == unknown_allowance ? std::nullopt : std::optional(most);
      }};
}

// Started when there is something to do, and kept for the runs that follow.
class Fleet {
 public:
  Fleet(const FleetRunOptions& options, FleetProgress& progress, const StopSignal& stop)
      : options_(fleet_options(options)), progress_(progress), stop_(stop) {}
  // `inherited`: a descriptor that workers keep open, such as the run folder's lock.
  Supervisor& get(int inherited = -1) {
    if (!supervisor_) {
      options_.inherited = inherited;
      supervisor_.emplace(options_, progress_, stop_);
    }
    return *supervisor_;
  }

 private:
  FleetOptions options_;
  FleetProgress& progress_;
  const StopSignal& stop_;
  std::optional<Supervisor> supervisor_;
};

// Made as any of the fleet's devices would make it.
int64_t take_cached(const PreparedRun& run, RunFolder& folder, ResultCache& cache,
                    const FleetRunOptions& options, FleetProgress& progress,
                    const StopSignal& stop) {
  std::vector<MadeWith> ways;
  for (const auto& device : chosen_devices(options.devices)) {
    MadeWith way = made_with(device, options.dtype, options.quantize);
    if (std::ranges::find(ways, way) == ways.end()) ways.push_back(std::move(way));
  }
  return take_from_cache(
      folder, run.plan.output, cache, ways,
      [&](const Item& item, const Record* hit) {
        progress.cache_looked_up(item, hit != nullptr);
        if (hit) progress.item_done(item, *hit);
      },
      [&] { return stop.requested(); });
}

RunTotals make_items(PreparedRun& run, RunFolder& folder, Fleet& fleet, ResultCache* cache,
                     const FleetRunOptions& options, FleetProgress& progress, FleetMetrics& metrics,
                     const StopSignal& stop) {
  return conduct_run(
      folder, metrics,
      {.begin =
           [&](const Totals& before) {
             progress.begin({run.plan.name, before.items, before.done});
           },
       .prepare = [&] { take_run_texts(run, folder, options); },
       .take_cached =
           [&] { return cache ? take_cached(run, folder, *cache, options, progress, stop) : 0; },
       .queued = [&](const Item& item) { progress.item_queued(item); },
       .make =
           [&] {
             LocalQueue queue(folder, target_of(run, folder, options), options.attempts);
             fleet.get(folder.lock_fd()).run(queue);
           },
       .end = [&](const RunTotals& totals) { progress.end(totals); },
       .cut_short = say_cut_short});
}

ExitCode merge(const CLI::App& app, const FleetRunOptions& options) {
  for (const CLI::Option* option : app.get_options()) {
    const std::string name = option->get_single_name();
    constexpr std::array known = {"merge", "output", "json", "quiet", "verbose", "log-json"};
    if (option->count() > 0 && std::ranges::find(known, name) == known.end())
      throw UsageError(name == "specs" ? "the spec" : "--" + name,
                       "has no meaning with --merge, which makes nothing",
                       "leave it out, or run that command by itself");
  }
  if (options.output.empty())
    throw UsageError("--merge", "needs --output", "name the run folder that the others go into");
  const ExitCode code = merge_folders(options.merge, options.output);
  print_result(options.output);
  return code;
}

ExitCode work_for_redis(const FleetRunOptions& options, StopSignal& stop) {
  std::optional<Fleet> fleet;
  const auto start = [&](FleetProgress& progress) -> Supervisor& {
    return fleet.emplace(options, progress, stop).get();
  };
  return run_redis_box(options, options.redis, options.attempts, start, stop);
}

ExitCode fleet_run(const CLI::App& app, FleetRunOptions options, StopSignal& stop) {
  configure_log(options);
  check_faults();
  check_run_options(options);
  check_redis_options(app, options.engine, options.redis);
  check_slurm_options(app, options.engine);
  if (options.redis.worker) return work_for_redis(options, stop);
  if (!options.merge.empty()) return merge(app, options);
  if (!options.shard_text.empty()) options.shard = parse_shard(options.shard_text, "--shard");
  if (options.specs.empty())
    throw UsageError("fleet-run", "no spec is given",
                     "name a job spec; 'backlot generate' makes single prompts");
  std::vector<PreparedRun> runs = prepare_runs(options);
  insist_on_pictures(runs);
  if (options.engine == "redis") return run_fleet_over_redis(runs, options, options.redis, stop);
  if (options.dry_run && options.engine == "local") {
    const auto devices = fit_devices(options);
    for (const auto& run : runs) print_plan(run, options, devices);
    return ExitCode::done;
  }
  const auto shown = make_progress(options.quiet ? "off" : options.progress);
  FleetMetrics metrics;
  const auto server = options.dry_run ? nullptr : serve_metrics(options.metrics, metrics);
  FleetProgressTee progress{&metrics, shown.get()};
  if (options.engine == "slurm")
    return run_fleet_on_slurm(app, runs, options, options.slurm, options.attempts, progress, stop);
  const auto cache = open_cache(options.cache);
  Fleet fleet(options, progress, stop);
  ExitCode code = ExitCode::done;
  const auto conduct = [&](PreparedRun& run) {
    RunFolderOptions how;
    if (options.fresh) how.resume = Resume::start_over;
    how.shard = options.shard;
    RunFolder folder =
        open_with_texts(run, how, options, chosen_devices(options.devices).front(), stop);
    report_findings(folder);
    const RunTotals totals =
        make_items(run, folder, fleet, cache.get(), options, progress, metrics, stop);
    if (totals.failed > 0) code = ExitCode::items_failed;
    print_totals(run, totals, options.json);
  };
  try {
    conduct_in_turn(runs, options, conduct);
  } catch (const Interrupted&) {
    log_warning("interrupted; run the same command again to go on");
    return stop.exit_code();
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
  declare_cache_options(app, options->cache, "--cache,--cache-dir");
  app.add_option("--engine", options->engine,
                 "local: workers on this machine; redis: boxes that work for a queue; slurm: the "
                 "tasks of an array job")
      ->check(CLI::IsMember({"local", "redis", "slurm"}));
  declare_redis_options(app, options->redis);
  declare_slurm_options(app, options->slurm);
  declare_run_options(app, *options);
  return [options, &app](StopSignal& stop) { return fleet_run(app, *options, stop); };
}

}  // namespace backlot
