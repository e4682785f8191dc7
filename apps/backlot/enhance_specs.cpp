// `backlot enhance` into run folders: specs of the task enhance, and --prompt with -o.
#include <fmt/format.h>

#include <unordered_map>

#include "base/text.h"
#include "base/time.h"
#include "command.h"
#include "device_option.h"
#include "enhance.h"
#include "fleet/devices.h"
#include "fleet/fleet_of_one.h"
#include "log.h"
#include "progress.h"
#include "spec/alternatives.h"
#include "texts.h"

namespace backlot {
namespace {

// What the options say, as the fields of a spec.
GenerateOptions as_job(const EnhanceOptions& options) {
  GenerateOptions job = options.run;
  job.specs.clear();
  job.prompts.clear();
  // A prompt on the command line is final, here as without -o.
  for (const auto& prompt : read_prompts(options))
    job.prompts.push_back(escape_alternatives(prompt.text));
  job.fields = options.sampling;
  job.fields["task"] = "enhance";
  job.fields["model"] = language_model_path(options.model).string();
  // Else each is drawn from the run folder's own number, so that the command can be run again.
  if (options.seed) job.fields["seed"] = std::to_string(*options.seed);
  if (!options.style.empty()) job.fields["style"] = options.style;
  if (options.variants > 1) job.fields["count"] = std::to_string(options.variants);
  if (!options.stop.empty()) job.fields["stop"] = Json(options.stop).dump();
  return job;
}

void insist_on_text_specs(const std::vector<PreparedRun>& runs) {
  for (const auto& run : runs)
    if (run.plan.task != Task::enhance)
      throw UsageError(run.spec, "makes pictures, not texts",
                       "write `task: enhance`, or run 'backlot generate'");
}

void print_text_plan(const PreparedRun& run, bool json) {
  if (json) {
    Json plan = Json::array();
    for (const auto& item : run.plan.items)
      plan.push_back({{"id", item.id}, {"output", item.output}, {"parameters", item.parameters}});
    return print_result(Json{
        {"run", run.shown_folder},
        {"items", run.plan.items.size()},
        {"done", count_done(run)},
        {"plan",
         std::move(plan)}}.dump());
  }
  print_result(fmt::format("{}: {} text(s) into {}", run.plan.name, run.plan.items.size(),
                           run.shown_folder));
  if (const int64_t done = count_done(run); done > 0)
    print_result(fmt::format("  {} of {} done already, by the journals and the sizes of files",
                             done, run.plan.items.size()));
  constexpr size_t most_shown = 20;
  for (size_t i = 0; i < std::min(run.plan.items.size(), most_shown); ++i) {
    const Item& item = run.plan.items[i];
    print_result(fmt::format("  {}  seed {}  {}", item.output, item.parameters["seed"].dump(),
                             printable(prompt_of(item.parameters))));
  }
  if (run.plan.items.size() > most_shown)
    print_result(
        fmt::format("  … and {} more; --json lists them all", run.plan.items.size() - most_shown));
}

// One run: texts as they are settled become outputs.
class TextRun {
 public:
  TextRun(PreparedRun& run, RunFolder& folder, const EnhanceOptions& options, RunProgress& progress)
      : run_(run),
        folder_(folder),
        progress_(progress),
        way_(made_with(choose_device(options.run.device), options.run.dtype,
                       text_packing_name(*weight_packing_named(options.packing)))) {
    for (const auto& item : run.plan.items) items_.emplace(item.id, &item);
    making_.packing = *weight_packing_named(options.packing);
    making_.max_sequences = options.max_sequences;
    making_.told = [this](const TextRecord& text, bool cached) { finish(text, cached); };
    making_.failed = [this](const PlannedText& text, const std::string& error) {
      const Item& item = *items_.at(text.id);
      folder_.record_failed(item, error, attempt());
      progress_.item_failed(item, error);
    };
  }

  // What an earlier run wrote down and had no time to put into its file needs no model.
  void make(const EnhanceOptions& options, EngineOnDemand& engine, ResultCache* cache,
            const StopSignal& stop) {
    for (const Item* item : folder_.pending())
      if (const auto known = folder_.text(item->text_id)) finish(*known, false);
    const auto loaded = [&]() -> Engine& {
      Engine& opened = engine();
      const DeviceFacts device = opened.device();
      folder_.record_engine(
          {opened.torch_version(), device.name, device.model, device.memory_bytes});
      return opened;
    };
    make_run_texts(run_, folder_, options.run, loaded, cache, stop, making_);
  }

 private:
  Attempt attempt() {
    Attempt attempt;
    attempt.started = utc_now();
    attempt.device = way_.device;
    attempt.dtype = way_.dtype;
    attempt.quantization = way_.quantization;
    // Texts are made together, each in all passes of a batch: its share is what came to an end.
    attempt.decode = std::exchange(since_, Stopwatch()).seconds();
    return attempt;
  }

  void finish(const TextRecord& text, bool cached) {
    const Item& item = *items_.at(text.id);
    Attempt how = attempt();
    how.cached = cached;
    const Stopwatch writing;
    const OutputFile file = folder_.write_output(item, text.text + "\n");
    how.write = writing.seconds();
    const double seconds = how.seconds();
    folder_.record_done(item, file, 0, 0, std::move(how));
    progress_.item_recorded(item, folder_.record_of(item));
    progress_.item_done(item, seconds);
    if (!text.note.empty()) log_warning(fmt::format("{}: {}", item.output, text.note));
  }

  PreparedRun& run_;
  RunFolder& folder_;
  RunProgress& progress_;
  MadeWith way_;
  TextMaking making_;
  std::unordered_map<std::string_view, const Item*> items_;
  Stopwatch since_;
};

}  // namespace

ExitCode enhance_runs(const EnhanceOptions& options, EngineOnDemand& engine, StopSignal& stop) {
  const GenerateOptions job =
      options.run.prompts.empty() && names_specs(options) ? options.run : as_job(options);
  std::vector<PreparedRun> runs = prepare_runs(job);
  insist_on_text_specs(runs);
  if (job.dry_run) {
    for (const auto& run : runs) print_text_plan(run, job.json);
    return ExitCode::done;
  }
  check_device(job.device);
  const auto cache = open_cache(job.cache);
  const auto shown = make_progress(job.quiet ? "off" : job.progress);
  FleetMetrics metrics;
  FleetProgressTee listeners{&metrics, shown.get()};
  FleetOfOne progress(listeners, choose_device(job.device), {.previews = false, .readings = true});
  ExitCode code = ExitCode::done;
  const auto conduct = [&](PreparedRun& run) {
    RunFolderOptions how;
    if (job.fresh) how.resume = Resume::start_over;
    RunFolder folder = RunFolder::open(run.plan.run_folder, run.plan, run.info, how);
    report_findings(folder);
    const RunTotals totals = conduct_run(
        folder, metrics,
        {.begin =
             [&](const Totals& before) { progress.begin(run.plan, before.items, before.done); },
         .take_cached = [] { return int64_t{0}; },
         .queued = [&](const Item& item) { progress.item_queued(item); },
         .make =
             [&] {
               TextRun(run, folder, options, progress).make(options, engine, cache.get(), stop);
             },
         .end = [&](const RunTotals& ended) { progress.end(ended); },
         .cut_short = say_cut_short});
    if (totals.failed > 0) code = ExitCode::items_failed;
    print_totals(run, totals, job.json);
  };
  try {
    conduct_in_turn(runs, job, conduct);
  } catch (const Interrupted&) {
    log_warning("interrupted; run the same command again to go on");
    return stop.exit_code();
  }
  return code;
}

}  // namespace backlot
