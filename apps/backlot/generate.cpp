#include "generate.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/time.h"
#include "bench/run_tracer.h"
#include "command.h"
#include "device_option.h"
#include "engine/loader.h"
#include "fleet/devices.h"
#include "fleet/fleet_of_one.h"
#include "fleet/runner.h"
#include "log.h"
#include "metrics_option.h"
#include "progress.h"
#include "run/cached_results.h"
#include "run/report.h"
#include "schedulers/names.h"
#include "spec/fields.h"
#include "texts.h"

namespace backlot {
namespace {

constexpr std::string_view visual_tasks[] = {"text-to-image", "text-to-video"};

void declare_job_options(CLI::App& app, GenerateOptions& options) {
  app.add_option("--prompt", options.prompts, "what to make; may be given several times")
      ->group("Jobs without a spec");
  app.add_option("--scene", options.scenes,
                 "a prompt of a clip that has several; give one after the other")
      ->group("Jobs without a spec");
  const auto field_option = [&](const std::string& name, const std::string& key,
                                const std::string& help) {
    return app
        .add_option_function<std::string>(
            name, [&options, key](const std::string& text) { options.fields[key] = text; }, help)
        ->group("Jobs without a spec");
  };
  field_option("--model", "model", "a diffusers folder or an SDXL checkpoint in safetensors");
  offer_values(*field_option(
                   "--task", "task",
                   "text-to-image or text-to-video (else by --frames, --fps, --scene, the preset)"),
               visual_tasks);
  field_option("--format", "format",
               "of outputs: png, jpeg, webp; mp4, webm, gif, png-sequence, …");
  field_option("--codec", "codec", "of clips: h264, h265, av1, vp9, …");
  field_option("--crf", "crf", "of clips: 18 looks like the original, 28 is small");
  field_option("--quality", "quality", "of JPEG and WebP, 1 to 100");
  field_option("--max-bytes", "max_bytes", "no output larger than that: 8MB");
  for (const auto& field : job_fields())
    if (field.name != "prompt" &&
        (field.applies_to(Task::text_to_image) || field.applies_to(Task::text_to_video))) {
      CLI::Option* option =
          field_option(option_name(field), std::string(field.name), std::string(field.help));
      if (!field.choices.empty()) offer_values(*option, field.choices);
      if (field.kind == FieldKind::scheduler) offer_values(*option, scheduler_names());
    }
  field_option("--preset", "preset", "a bundle of defaults, see jobspecs/presets.yaml");
  field_option("--name", "name", "the run folder's name");
  field_option("--prompts-from", "prompts_from", ".txt with a prompt a line, .csv or .jsonl");
  app.add_option("--from", options.from,
                 "make this picture or clip again from what it says of itself")
      ->group("Jobs without a spec");
}

void declare_own_options(CLI::App& app, GenerateOptions& options) {
  app.add_option("--device", options.device, "cpu, cuda, cuda:N or auto (a GPU if there is one)");
  app.add_option("--threads", options.threads, "CPU threads (else all that may be used)")
      ->check(CLI::Range(1, 4096));
  declare_cache_options(app, options.cache, "--cache-dir");
  app.add_flag("--texts-only", options.texts_only,
               "make what the spec's enhance stage makes, and no pictures");
  app.add_option("--trace", options.trace,
                 "write a Chrome trace: every stage and step of every picture");
}

void check_options(const GenerateOptions& options) {
  check_run_options(options);
  check_device_name(options.device);
  if (options.dry_run && !options.trace.empty())
    throw UsageError("--trace", "a dry run has nothing to trace", "leave out --dry-run");
  if (options.texts_only && options.dry_run)
    throw UsageError("--texts-only", "does not go with --dry-run, which makes nothing",
                     "leave out one of them");
  if (options.texts_only && !options.trace.empty())
    throw UsageError("--trace", "is of pictures, and --texts-only makes none",
                     "leave out one of them");
}

// Loaded once, at the first run that has something to make.
class LazyEngine {
 public:
  explicit LazyEngine(const GenerateOptions& options)
      : options_{choose_device(options.device), options.threads} {}
  LoadedPipeline& get() {
    if (!engine_) {
      engine_ = load_engine(options_);
      loaded_.emplace(*engine_);
    }
    return *loaded_;
  }

 private:
  EngineOptions options_;
  std::unique_ptr<Engine> engine_;
  std::optional<LoadedPipeline> loaded_;
};

int64_t take_cached(const PreparedRun& run, RunFolder& folder, ResultCache& cache,
                    const GenerateOptions& options, RunProgress& progress, StopSignal& stop) {
  const MadeWith way = made_with(choose_device(options.device), options.dtype, options.quantize);
  return take_from_cache(
      folder, run.plan.output, cache, std::span(&way, 1),
      [&](const Item& item, const Record* hit) {
        if (!hit) return;
        progress.item_recorded(item, *hit);
        progress.item_done(item, hit->attempt.seconds());
      },
      [&] { return stop.requested(); });
}

RunTotals make_items(PreparedRun& run, RunFolder& folder, LazyEngine& engine, ResultCache* cache,
                     const GenerateOptions& options, RunProgress& progress, FleetMetrics& metrics,
                     StopSignal& stop) {
  return conduct_run(
      folder, metrics,
      {.begin = [&](const Totals& before) { progress.begin(run.plan, before.items, before.done); },
       .prepare =
           [&] {
             make_run_texts(
                 run, folder, options, [&]() -> Engine& { return engine.get().engine(); }, cache,
                 stop);
           },
       .take_cached =
           [&] { return cache ? take_cached(run, folder, *cache, options, progress, stop) : 0; },
       .queued = [&](const Item& item) { progress.item_queued(item); },
       .make =
           [&] {
             MakingOptions making;
             making.precision = precision_of(options.dtype);
             making.quantization = quantization_of(options.quantize);
             making.batch_size = options.batch_size;
             making.allow_lower_precision = options.allow_lower_precision;
             making.checkpoint_steps = options.checkpoint_steps;
             making.cache = cache;
             run_on_one_device(engine.get(), run.plan, folder, making, progress, stop);
           },
       .end = [&](const RunTotals& totals) { progress.end(totals); },
       .cut_short = say_cut_short});
}

void insist_on_texts(const std::vector<PreparedRun>& runs) {
  for (const auto& run : runs)
    if (run.plan.texts.empty())
      throw UsageError(run.spec.empty() ? "--texts-only" : run.spec,
                       "has no enhance stage that would make texts",
                       "add `enhance: {model: DIR}` to the spec, or leave out --texts-only");
}

void print_texts(const PreparedRun& run, const TextTotals& totals, bool json) {
  if (!json) return print_result(run.shown_folder);
  print_result(Json{{"run", run.shown_folder},
                    {"texts", run.plan.texts.size()},
                    {"reused", totals.found},
                    {"made", totals.made},
                    {"cached", totals.cached},
                    {"fell_back", totals.fell_back}}
                   .dump());
}

void make_texts_only(PreparedRun& run, const GenerateOptions& options, LazyEngine& engine,
                     ResultCache* cache, FleetMetrics& metrics, StopSignal& stop) {
  RunFolderOptions how;
  if (options.fresh) how.resume = Resume::start_over;
  how.boxes_write = true;  // their outputs are not in the way of texts
  RunFolder folder = RunFolder::open(run.plan.run_folder, run.plan, run.info, how);
  TextTotals made;
  made.found = std::ranges::count_if(
      run.plan.texts, [&](const PlannedText& text) { return folder.text(text.id).has_value(); });
  conduct_run(folder, metrics,
              {.begin = [](const Totals&) {},
               .prepare =
                   [&] {
                     made = make_run_texts(
                         run, folder, options, [&]() -> Engine& { return engine.get().engine(); },
                         cache, stop);
                   },
               .take_cached = [] { return int64_t{0}; },
               .queued = [](const Item&) {},
               .make = [] {},
               .end = [](const RunTotals&) {},
               .cut_short = say_cut_short});
  print_texts(run, made, options.json);
}

// Writes the trace whatever way the runs end: a run that failed is the one to look into.
class TraceFile {
 public:
  explicit TraceFile(const std::string& path) : path_(path) {
    if (path_.empty()) return;
    if (fs::is_directory(path_)) throw UsageError("--trace " + path, "is a folder", "name a file");
    // Found out now, not after the work.
    make_folders(fs::absolute(path_).parent_path());
    recorder_.write(path_);
  }
  ~TraceFile() {
    try {
      write();
    } catch (const Error& error) {
      log_error(error.what());
    }
  }
  TraceFile(const TraceFile&) = delete;
  TraceFile& operator=(const TraceFile&) = delete;
  TraceRecorder& recorder() { return recorder_; }
  bool wanted() const { return !path_.empty(); }
  void write() {
    if (!path_.empty() && !std::exchange(written_, true)) recorder_.write(path_);
  }

 private:
  fs::path path_;
  TraceRecorder recorder_;
  bool written_ = false;
};

ExitCode generate(const GenerateOptions& options, StopSignal& stop) {
  configure_log(options);
  check_options(options);
  std::vector<PreparedRun> runs = prepare_runs(options);
  insist_on_pictures(runs);
  if (options.dry_run) {
    for (const auto& run : runs) print_plan(run, options, {choose_device(options.device)});
    return ExitCode::done;
  }
  check_device(options.device);
  insist_on_quantization(quantization_of(options.quantize), choose_device(options.device));
  if (options.texts_only) insist_on_texts(runs);
  const auto cache = open_cache(options.cache);
  LazyEngine engine(options);
  ExitCode code = ExitCode::done;
  const auto shown = make_progress(options.quiet || options.texts_only ? "off" : options.progress);
  FleetMetrics metrics;
  const auto server = serve_metrics(options.metrics, metrics);
  FleetProgressTee listeners{&metrics, shown.get()};
  FleetOfOne told(listeners, choose_device(options.device),
                  {.previews = !options.quiet && options.progress == "json", .readings = true});
  TraceFile trace(options.trace);
  RunTracer traced(told, trace.recorder());
  RunProgress& progress = trace.wanted() ? static_cast<RunProgress&>(traced) : told;
  const auto conduct = [&](PreparedRun& run) {
    if (options.texts_only)
      return make_texts_only(run, options, engine, cache.get(), metrics, stop);
    RunFolderOptions how;
    if (options.fresh) how.resume = Resume::start_over;
    RunFolder folder = RunFolder::open(run.plan.run_folder, run.plan, run.info, how);
    report_findings(folder);
    const RunTotals totals =
        make_items(run, folder, engine, cache.get(), options, progress, metrics, stop);
    if (totals.failed > 0) code = ExitCode::items_failed;
    print_totals(run, totals, options.json);
  };
  try {
    conduct_in_turn(runs, options, conduct);
  } catch (const Interrupted&) {
    log_warning("interrupted; run the same command again to go on");
    return stop.exit_code();
  }
  trace.write();
  return code;
}

}  // namespace

Run declare_generate(CLI::App& app) {
  const auto options = std::make_shared<GenerateOptions>();
  app.add_option("specs", options->specs, "job specs in YAML; several make a run folder each");
  declare_run_options(app, *options);
  declare_own_options(app, *options);
  declare_job_options(app, *options);
  return [options](StopSignal& stop) { return generate(*options, stop); };
}

}  // namespace backlot
