// `backlot bench`: runs the suites, shows what they found, compares it with an earlier run.
#include "bench.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>

#include "base/time.h"
#include "bench/machine_facts.h"
#include "bench/report.h"
#include "bench/tables.h"
#include "command.h"
#include "engine/loader.h"
#include "log.h"
#include "version.h"

namespace backlot {
namespace {

// An operator in hand can't be interrupted. So after this long the results so far are written
// without waiting for it; the process has 4.5 seconds in all.
constexpr double wait_for_engine_seconds = 2;

class LogListener : public BenchListener {
 public:
  void measured(const BenchCase& each) override {
    if (!each.error.empty()) return log_error(each.name + ": " + each.error);
    log_info(
        fmt::format("{}: {} {}", each.name, human_seconds(each.summary().median), each.measures));
  }
  void noted(const std::string& note) override { log_warning(note); }
};

Json comparison_json(const Comparison& comparison, const std::string& source) {
  Json cases = Json::array();
  for (const auto& each : comparison.cases)
    cases.push_back(
        {{"name", each.name},
         {"verdict",
          each.verdict == Verdict::slower ? "slower" : std::string(verdict_name(each.verdict))},
         {"before", each.before.count ? Json(each.before.median) : Json()},
         {"now", each.now.count ? Json(each.now.median) : Json()}});
  return {{"baseline", source},
          {"threshold", comparison.threshold},
          {"differing_facts", comparison.differing_facts},
          {"cases", std::move(cases)}};
}

// Everything that is shown and written at the end. Done once, by whichever thread comes first: the
// one that measures, or the one that sees that it does not come back.
class Closing {
 public:
  Closing(const Bench& bench, const BenchOptions& options, BenchOutputs outputs,
          std::optional<Baseline> baseline, const TraceRecorder& recorder)
      : bench_(bench),
        options_(options),
        outputs_(std::move(outputs)),
        baseline_(std::move(baseline)),
        recorder_(recorder) {}

  ExitCode close(bool complete) {
    const std::lock_guard lock(mutex_);
    if (!std::exchange(closed_, true)) code_ = finish(complete);
    return code_;
  }

 private:
  ExitCode finish(bool complete) {
    BenchResults results = bench_.results();
    results.complete = complete;
    results.seconds = watch_.seconds();
    if (complete && results.cases.empty())
      throw UsageError(fmt::format("--filter {}", fmt::join(options_.filters, " --filter ")),
                       "no case has such a name", "run once without it to see the names");
    std::optional<Comparison> comparison;
    // An interrupted run has seen too little to say that anything is gone.
    if (baseline_ && complete)
      comparison = compare(baseline_->results, results, baseline_->threshold,
                           [&](const BenchCase& each) { return expected(each); });
    Json json = to_json(results);
    if (comparison) json["comparison"] = comparison_json(*comparison, baseline_->source);
    if (options_.json)
      print_result(json.dump(2, ' ', false, Json::error_handler_t::replace));
    else
      print_tables(results, comparison);
    write_files(results, json, comparison);
    return exit_code(results, comparison);
  }

  bool expected(const BenchCase& each) const {
    const BenchRequest& request = bench_.request();
    return request.wants(each.name) &&
           std::ranges::find(request.suites, each.suite) != request.suites.end();
  }

  static void print_tables(const BenchResults& results,
                           const std::optional<Comparison>& comparison) {
    for (const auto* suite : {"image", "video", "language", "load", "kernels", "fleet"})
      for (const auto& table : suite_tables(results, suite)) print_result(text_table(table) + "\n");
    if (comparison) print_result(text_table(comparison_table(*comparison)) + "\n");
  }

  void write_files(const BenchResults& results, const Json& json,
                   const std::optional<Comparison>& comparison) const {
    std::vector<fs::path> written;
    if (!outputs_.json.empty()) {
      write_file_durably(outputs_.json,
                         json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
      written.push_back(outputs_.json);
    }
    if (!outputs_.report.empty()) {
      write_file_durably(outputs_.report, bench_html(results, comparison));
      written.push_back(outputs_.report);
    }
    if (!outputs_.trace.empty()) {
      recorder_.write(outputs_.trace);
      written.push_back(outputs_.trace);
    }
    if (!options_.json)
      for (const auto& file : written) print_result(file.string());
  }

  static ExitCode exit_code(const BenchResults& results,
                            const std::optional<Comparison>& comparison) {
    if (comparison) {
      for (const auto& fact : comparison->differing_facts)
        log_warning("the baseline is of another machine or setting: " + fact);
      const auto say = [&](Verdict verdict, const char* what) {
        for (const auto& each : comparison->cases)
          if (each.verdict == verdict) log_warning(each.name + ": " + what);
      };
      say(Verdict::gone, "in the baseline, but not measured now");
      say(Verdict::added, "not in the baseline");
      say(Verdict::noisy, "differs, but by less than twice the noise; measure with more --repeats");
      for (const auto& each : comparison->cases)
        if (each.verdict == Verdict::slower)
          log_error(fmt::format("{}: {:.1f} % slower than the baseline, {} instead of {}",
                                each.name, 100 * each.change(), human_seconds(each.now.median),
                                human_seconds(each.before.median)));
    }
    const bool failed =
        std::ranges::any_of(results.cases, [](const auto& each) { return !each.error.empty(); });
    return failed || (comparison && comparison->regressed()) ? ExitCode::items_failed
                                                             : ExitCode::done;
  }

  const Bench& bench_;
  const BenchOptions& options_;
  BenchOutputs outputs_;
  std::optional<Baseline> baseline_;
  const TraceRecorder& recorder_;
  Stopwatch watch_;
  std::mutex mutex_;
  bool closed_ = false;
  ExitCode code_ = ExitCode::done;
};

// Closes and ends the process if the measuring thread does not come back in time.
void watch_for_stop(const std::stop_token& over, const StopSignal& stop, Closing& closing) {
  while (!over.stop_requested()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    if (!stop.requested() || stop.seconds_since() < wait_for_engine_seconds) continue;
    try {
      closing.close(false);
      log_warning("interrupted; the results are what was measured by then");
    } catch (const Error& error) {
      log_error(error.what());
    }
    std::fflush(stdout);
    ::_exit(static_cast<int>(stop.exit_code()));
  }
}

void run_suites(Bench& bench) {
  for (const auto& suite : bench.request().suites) {
    bench.check_stop();
    if (suite == "image") run_image_suite(bench);
    if (suite == "video") run_video_suite(bench);
    if (suite == "language") run_language_suite(bench);
    if (suite == "load") run_load_suite(bench);
    if (suite == "kernels") run_kernel_suite(bench);
    if (suite == "fleet") run_fleet_suite(bench);
  }
}

ExitCode run_bench(const BenchOptions& options, const StopSignal& stop) {
  configure_log(options.quiet     ? Verbosity::quiet
                : options.verbose ? Verbosity::verbose
                                  : Verbosity::normal,
                options.log_json);
  BenchRequest request = bench_request(options);
  auto baseline = read_baseline(options);
  BenchOutputs outputs = bench_outputs(options);
  const auto torch = find_torch();
  BenchResults results{
      .started = utc_now(),
      .machine = machine_facts(version, torch ? torch->version : "", request.threads),
      .options = describe(request)};
  TraceRecorder recorder;
  LogListener listener;
  const EngineOptions engine{request.device, request.threads};
  Bench bench(
      std::move(request), std::move(results), [&] { return load_engine(engine); }, recorder,
      listener, stop);
  if (const double load = load_average(); load > 0.5 * bench.request().threads)
    bench.note(
        fmt::format("the machine is busy (load {:.1f}): times will be long and spread", load));
  Closing closing(bench, options, std::move(outputs), std::move(baseline), recorder);
  const std::jthread watch(
      [&](const std::stop_token& over) { watch_for_stop(over, stop, closing); });
  try {
    run_suites(bench);
  } catch (const Interrupted&) {
    closing.close(false);
    log_warning("interrupted; the results are what was measured by then");
    return stop.exit_code();
  } catch (const Error&) {
    // What was measured before the fault took minutes: it is shown and kept.
    if (!bench.results().cases.empty()) closing.close(false);
    throw;
  }
  return closing.close(true);
}

}  // namespace

Run declare_bench(CLI::App& app) {
  const auto options = std::make_shared<BenchOptions>();
  declare_bench_options(app, *options);
  return [options](StopSignal& stop) { return run_bench(*options, stop); };
}

}  // namespace backlot
