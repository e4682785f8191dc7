#include "fleet_redis.h"

#include <fmt/format.h>

#include <cstdlib>
#include <map>

#include "base/time.h"
#include "command.h"
#include "fleet/devices.h"
#include "fleet/redis_coordinator.h"
#include "fleet/redis_queue.h"
#include "log.h"
#include "model_store.h"
#include "progress.h"
#include "spec/resolve.h"
#include "texts.h"

namespace backlot {
namespace {

// A model that lies elsewhere on this box than on the coordinator's: found by its name, and taken
// only if it is the very same.
class ModelFinder {
 public:
  void operator()(Item& item) {
    const Json variant = item.parameters.value("variant", Json());
    const auto of = variant.is_string() ? std::optional(variant.get<std::string>()) : std::nullopt;
    const auto [found, fresh] =
        found_.try_emplace(item.model.string() + "\n" + item.model_fingerprint + variant.dump());
    if (fresh) try {
        found->second = find(item.model, item.model_fingerprint, of);
      } catch (...) {
        found_.erase(found);
        throw;
      }
    item.model = found->second;
    if (item.vae) item.vae = find_vae(item);
  }

 private:
  static fs::path find(const fs::path& wanted, const std::string& wanted_fingerprint,
                       const std::optional<std::string>& variant) {
    bool other_weights = false;
    for (const auto& place : places_of(wanted)) {
      if (fingerprint(ModelFolder::open(place), variant) == wanted_fingerprint) return place;
      other_weights = true;
    }
    throw LoadError(wanted.filename().string(),
                    other_weights ? "has other weights on this box than where the run was planned"
                                  : "is not on this box",
                    fmt::format("put the run's model under {}, or point BACKLOT_MODELS at the "
                                "folder that holds it",
                                wanted.string()));
  }

  fs::path find_vae(const Item& item) {
    const fs::path& wanted = *item.vae;
    const std::string hash = item.parameters.at("vae").at("sha256");
    auto& found = found_[wanted.string() + "\n" + hash];
    if (!found.empty()) return found;
    std::error_code absent;
    if (!fs::exists(wanted, absent))
      throw LoadError(wanted.string(), "the run's VAE is not on this box",
                      "put it under the same path");
    if (folder_hash(wanted) != hash)
      throw LoadError(wanted.string(), "is another VAE on this box than where the run was planned",
                      "copy it from there");
    return found = wanted;
  }

  static std::vector<fs::path> places_of(const fs::path& wanted) {
    std::vector<fs::path> places;
    std::error_code absent;
    if (fs::exists(wanted, absent)) places.push_back(wanted);
    for (const auto& model : list_models())
      if (model.filename() == wanted.filename() || model.stem() == wanted.filename())
        places.push_back(model);
    return places;
  }

  std::map<std::string, fs::path> found_;
};

// Counts what this box did, for its last word.
class Tally : public FleetProgress {
 public:
  void item_done(const Item&, const Record&) override { ++totals.done; }
  void item_failed(const Item&, const std::string&) override { ++totals.failed; }
  RunTotals totals;
};

// Not by CLI11's envname: a local run must be let be where the variable is set.
RedisAddress address_of(const RedisOptions& options) {
  const char* given = std::getenv("BACKLOT_REDIS");
  if (options.url.empty() && given && *given) return parse_redis_url(given, "$BACKLOT_REDIS");
  if (options.url.empty())
    throw UsageError("--redis", "no server is given",
                     "give redis://HOST:PORT, or set BACKLOT_REDIS");
  return parse_redis_url(options.url);
}

CoordinatorOptions coordinator_options(const GenerateOptions& options, const RedisOptions& redis,
                                       const RedisAddress& address) {
  CoordinatorOptions out;
  out.name = redis.queue;
  out.dtype = options.dtype;
  out.quantization = options.quantize;
  out.batch_size = options.batch_size;
  out.allow_lower_precision = options.allow_lower_precision;
  out.checkpoint_steps = options.checkpoint_steps;
  out.worker_command = "backlot fleet-run --worker --redis " + address.shown();
  if (!address.password.empty()) out.worker_command += " (with its password)";
  if (redis.queue != "backlot") out.worker_command += " --queue " + redis.queue;
  return out;
}

void refuse_what_lies_elsewhere(const RedisCoordinator& coordinator, const PreparedRun& run) {
  if (coordinator.elsewhere().empty()) return;
  int64_t items = 0;
  std::string places;
  for (const auto& [place, count] : coordinator.elsewhere()) {
    items += count;
    places += (places.empty() ? "" : ", ") + place;
  }
  throw EnvironmentError(run.shown_folder,
                         fmt::format("{} output(s) lie on other boxes: {}", items, places),
                         "copy those folders here and put them together with 'backlot fleet-run "
                         "--merge DIR… --output DIR'");
}

RunTotals coordinate(PreparedRun& run, RunFolder& folder, const GenerateOptions& options,
                     const RedisOptions& redis, std::optional<uint64_t> forgotten,
                     FleetProgress& progress, FleetMetrics& metrics, const StopSignal& stop) {
  const auto make = [&] {
    const RedisAddress address = address_of(redis);
    RedisCoordinator coordinator(address, run.plan, run.info.base_seed, folder,
                                 coordinator_options(options, redis, address), progress);
    if (forgotten) coordinator.forget_run(*forgotten);
    coordinator.run(stop);
    refuse_what_lies_elsewhere(coordinator, run);
  };
  // A coordinator that was stopped may have left its run's keys, though boxes made all of it.
  if (folder.pending().empty()) try {
      make();
    } catch (const EnvironmentError&) {
    }
  return conduct_run(folder, metrics,
                     {.begin =
                          [&](const Totals& before) {
                            progress.begin({run.plan.name, before.items, before.done});
                          },
                      .prepare = [&] { take_run_texts(run, folder, options); },
                      .take_cached = [] { return int64_t{0}; },
                      .queued = [&](const Item& item) { progress.item_queued(item); },
                      .make = make,
                      .end = [&](const RunTotals& totals) { progress.end(totals); },
                      .cut_short = say_cut_short});
}

}  // namespace

void declare_redis_options(CLI::App& app, RedisOptions& options) {
  const char* group = "With --engine redis, or as its --worker";
  app.add_option("--redis", options.url,
                 "redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]; the password may also be given "
                 "in $REDISCLI_AUTH, all of it in $BACKLOT_REDIS")
      ->group(group);
  app.add_flag("--worker", options.worker, "make what is on the queue, as one of its boxes")
      ->group(group);
  app.add_option("--queue", options.queue, "the queue's name, where a server has several")
      ->check([](const std::string& name) {
        const bool fits = !name.empty() && name.size() <= 64 &&
                          name.find_first_not_of(
                              "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUV"
                              "WXYZ0123456789-_.") == name.npos;
        return fits ? std::string() : std::string("wants letters, digits, '-', '_' and '.'");
      })
      ->group(group);
  app.add_option("--claim-after", options.claim_after,
                 "--worker: seconds without a word from a box after which its items are taken over")
      ->check(CLI::Range(3.0, 86400.0))
      ->group(group);
  app.add_option("--idle-exit", options.idle_exit,
                 "--worker: end after so many seconds without work (0: as soon as the queue is "
                 "empty; else never)")
      ->check(CLI::Range(0.0, 1e9))
      ->group(group);
}

void check_redis_options(const CLI::App& app, const std::string& engine,
                         const RedisOptions& options) {
  const auto refuse = [&](const char* option, const char* why, const char* mend) {
    if (app.count(option) > 0) throw UsageError(option, why, mend);
  };
  if (options.worker) {
    refuse("--engine", "is the coordinator's, and this is a --worker", "leave one of them out");
    for (const char* option :
         {"specs", "--set", "--dtype", "--quantize", "--batch-size", "--dry-run", "--fresh",
          "--no-metadata", "--quota", "--min-free", "--merge"})
      refuse(option, "does not go with --worker: the coordinator says what is made and how",
             "give it to 'backlot fleet-run --engine redis'");
  } else {
    for (const char* option : {"--claim-after", "--idle-exit"})
      refuse(option, "is for --worker", "add that, or leave it out");
  }
  if (options.worker || engine == "redis")
    refuse("--shard", "does not go with a queue, which deals items out by itself", "leave it out");
  if (engine == "redis")
    for (const char* option : {"--devices", "--threads", "--attempts", "--hang-timeout"})
      refuse(option, "does not go with --engine redis, whose items are made by its workers",
             "give it to 'backlot fleet-run --worker'");
  const bool wanted = options.worker || engine == "redis";
  if (wanted)
    for (const char* option : {"--cache", "--cache-max-size", "--cache-max-age"})
      refuse(option, "does not go with a queue: what boxes make is not cached", "leave it out");
  if (!wanted)
    for (const char* option : {"--redis", "--queue"})
      refuse(option, "is for --engine redis and --worker", "add one of them, or leave it out");
  if (wanted) address_of(options);
}

ExitCode run_fleet_over_redis(std::vector<PreparedRun>& runs, const GenerateOptions& options,
                              const RedisOptions& redis, StopSignal& stop) {
  if (options.dry_run) {
    for (const auto& run : runs) print_plan(run, options, {choose_device("auto")});
    return ExitCode::done;
  }
  const auto shown = make_progress(options.quiet ? "off" : options.progress);
  FleetMetrics metrics;
  const auto server = serve_metrics(options.metrics, metrics);
  FleetProgressTee progress{&metrics, shown.get()};
  ExitCode code = ExitCode::done;
  const auto conduct = [&](PreparedRun& run) {
    RunFolderOptions how;
    how.boxes_write = true;
    std::optional<uint64_t> forgotten;
    if (options.fresh) {
      how.resume = Resume::start_over;
      forgotten = RunFolder::base_seed(run.plan.run_folder);
    }
    RunFolder folder = open_with_texts(run, how, options, choose_device("auto"), stop);
    report_findings(folder);
    const RunTotals totals =
        coordinate(run, folder, options, redis, forgotten, progress, metrics, stop);
    if (totals.failed > 0) code = ExitCode::items_failed;
    print_totals(run, totals, options.json);
  };
  try {
    conduct_in_turn(runs, options, conduct);
  } catch (const Interrupted&) {
    log_warning(
        "interrupted; the queue stays, and its workers go on: run the same command again "
        "to follow");
    return stop.exit_code();
  }
  return code;
}

ExitCode run_redis_box(const GenerateOptions& options, const RedisOptions& redis, int64_t attempts,
                       const std::function<Supervisor&(FleetProgress&)>& fleet, StopSignal& stop) {
  RedisQueueOptions queue_options;
  queue_options.name = redis.queue;
  queue_options.box = new_box_name();
  queue_options.claim_after =
      std::chrono::milliseconds(static_cast<int64_t>(redis.claim_after * 1000));
  queue_options.attempts = attempts;
  if (redis.idle_exit >= 0) queue_options.idle_exit = redis.idle_exit;
  queue_options.output = options.output;
  queue_options.find_model = ModelFinder();
  queue_options.say = [](const std::string& text) { log_warning(text); };
  const RedisAddress address = address_of(redis);
  RedisQueue queue(address, queue_options);
  log_info(fmt::format("{} works for the queue '{}' at {}", queue_options.box, redis.queue,
                       address.shown()));
  const auto shown = make_progress(options.quiet ? "off" : options.progress);
  FleetMetrics metrics;
  const auto server = serve_metrics(options.metrics, metrics);
  Tally tally;
  FleetProgressTee progress{&metrics, shown.get(), &tally};
  const Stopwatch watch;
  progress.begin({redis.queue, std::nullopt, 0});
  ExitCode code = ExitCode::done;
  try {
    fleet(progress).run(queue);
  } catch (const Interrupted&) {
    log_warning("interrupted; what is left is the other boxes'");
    code = stop.exit_code();
  }
  tally.totals.items = tally.totals.done + tally.totals.failed;
  tally.totals.seconds = watch.seconds();
  progress.end(tally.totals);
  if (options.json)
    print_result(Json{{"box", queue_options.box},
                      {"done", tally.totals.done},
                      {"failed", tally.totals.failed},
                      {"seconds", tally.totals.seconds}}
                     .dump());
  return code;
}

}  // namespace backlot
