#include "generate.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/time.h"
#include "bench/run_tracer.h"
#include "command.h"
#include "device_option.h"
#include "engine/loader.h"
#include "fleet/devices.h"
#include "fleet/runner.h"
#include "log.h"
#include "progress.h"
#include "run/report.h"
#include "spec/fields.h"

namespace backlot {
namespace {

void declare_job_options(CLI::App& app, GenerateOptions& options) {
  app.add_option("--prompt", options.prompts, "what to make; may be given several times")
      ->group("Jobs without a spec");
  const auto field_option = [&](const std::string& name, const std::string& key,
                                const std::string& help) {
    app.add_option_function<std::string>(
           name, [&options, key](const std::string& text) { options.fields[key] = text; }, help)
        ->group("Jobs without a spec");
  };
  field_option("--model", "model", "a diffusers folder or an SDXL checkpoint in safetensors");
  for (const auto& field : job_fields())
    if (field.name != "prompt")
      field_option(option_name(field), std::string(field.name), std::string(field.help));
  field_option("--preset", "preset", "a bundle of defaults, see jobspecs/presets.yaml");
  field_option("--name", "name", "the run folder's name");
  field_option("--prompts-from", "prompts_from", ".txt with a prompt a line, .csv or .jsonl");
  app.add_option("--from", options.from, "make this picture again from what it says of itself")
      ->group("Jobs without a spec");
}

void declare_common_options(CLI::App& app, GenerateOptions& options) {
  app.add_option("-o,--output", options.output, "the run folder itself (else OUTPUT.DIR/NAME)")
      ->check([](const std::string& text) {
        return text.empty() ? std::string("is empty; name the run folder") : std::string();
      });
  app.add_option("--set", options.sets, "override a value of the spec: path=value");
  app.add_option("--device", options.device, "cpu, cuda, cuda:N or auto (a GPU if there is one)");
  app.add_option("--dtype", options.dtype, "float32, bfloat16, float16 or auto");
  app.add_option("--quantize", options.quantize,
                 "none, int8 (CPU) or fp8 (Ada and Hopper GPUs): faster, slightly other pictures");
  app.add_option("--batch-size", options.batch_size, "pictures made together (else by free memory)")
      ->check(CLI::Range(1, 4096));
  app.add_flag("--allow-lower-precision", options.allow_lower_precision,
               "where float32 does not fit into memory, bfloat16 may take its place");
  app.add_option("--threads", options.threads, "CPU threads (else all that may be used)")
      ->check(CLI::Range(1, 4096));
  app.add_flag("--dry-run", options.dry_run, "say what would be made and what memory it takes");
  app.add_flag("--fresh", options.fresh, "start over: remove what an earlier run made");
  app.add_flag("--no-metadata", options.no_metadata, "keep parameters out of the pictures");
  app.add_option("--progress", options.progress, "auto, bar, plain, json or off")
      ->check(CLI::IsMember({"auto", "bar", "plain", "json", "off"}));
  app.add_option("--trace", options.trace,
                 "write a Chrome trace: every stage and step of every picture");
  app.add_flag("--json", options.json, "print results as JSON, one object a run");
  app.add_flag("-q,--quiet", options.quiet, "errors only");
  app.add_flag("-v,--verbose", options.verbose, "more detail");
  app.add_flag("--log-json", options.log_json, "messages as JSON, one object a line");
}

void check_options(const GenerateOptions& options) {
  precision_of(options.dtype);
  if (quantization_of(options.quantize) == Quantization::int8 && options.dtype == "float16")
    throw UsageError("--quantize int8", "does not go with --dtype float16",
                     "give --dtype bfloat16 or float32");
  if (options.allow_lower_precision && options.dtype != "float32" && options.dtype != "auto")
    throw UsageError("--allow-lower-precision", "there is nothing below " + options.dtype,
                     "leave it out, or give --dtype float32");
  check_device_name(options.device);
  if (options.dry_run && !options.trace.empty())
    throw UsageError("--trace", "a dry run has nothing to trace", "leave out --dry-run");
}

void report_findings(const RunFolder& folder) {
  const Findings& found = folder.findings();
  for (const auto& output : found.missing) log_warning(output + ": was gone; it is made again");
  for (const auto& output : found.damaged) log_warning(output + ": was damaged; it is made again");
  // What lies under the name of an item still to be made belongs to an earlier spec.
  std::set<std::string> known(found.damaged.begin(), found.damaged.end());
  const auto replaced = std::ranges::count_if(folder.pending(), [&](const Item* item) {
    return !known.contains(item->output) && fs::exists(folder.path() / item->output);
  });
  if (replaced > 0)
    log_warning(
        fmt::format("{} picture(s) of an earlier spec have names that new ones take; they "
                    "are replaced (another output.name keeps both)",
                    replaced));
  if (!found.leftover.empty())
    log_info(fmt::format("{} picture(s) of items that the spec no longer has stay as they are",
                         found.leftover.size()));
  if (found.unreadable_lines > 0)
    log_warning(fmt::format("{} unreadable journal line(s) passed over", found.unreadable_lines));
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

RunTotals make_items(const PreparedRun& run, RunFolder& folder, LazyEngine& engine,
                     const GenerateOptions& options, RunProgress& progress, StopSignal& stop) {
  const Stopwatch watch;
  const Totals before = folder.totals();
  progress.begin(run.plan, before.items, before.done);
  std::exception_ptr failure;
  try {
    if (!folder.pending().empty())
      run_on_one_device(engine.get(), run.plan, folder,
                        {.precision = precision_of(options.dtype),
                         .quantization = quantization_of(options.quantize),
                         .batch_size = options.batch_size,
                         .allow_lower_precision = options.allow_lower_precision},
                        progress, stop);
  } catch (...) {
    failure = std::current_exception();
  }
  const Totals after = folder.totals();
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

void print_totals(const PreparedRun& run, const RunTotals& totals, bool json) {
  if (!json) return print_result(run.shown_folder);
  print_result(Json{{"run", run.shown_folder},
                    {"items", totals.items},
                    {"reused", totals.reused},
                    {"done", totals.done},
                    {"failed", totals.failed},
                    {"seconds", totals.seconds}}
                   .dump());
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
  configure_log(options.quiet     ? Verbosity::quiet
                : options.verbose ? Verbosity::verbose
                                  : Verbosity::normal,
                options.log_json);
  check_options(options);
  // Every spec is read and planned before the first one starts: a mistake in the last is found now.
  std::vector<PreparedRun> runs;
  for (auto& document : read_documents(options))
    runs.push_back(prepare_run(std::move(document), options));
  for (size_t i = 0; i < runs.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (runs[i].plan.run_folder == runs[j].plan.run_folder)
        throw UsageError(
            options.specs[i],
            fmt::format("would go into {}, as {} does", runs[i].shown_folder, options.specs[j]),
            "give one of them another name: (or --set name=…), or run them singly");
  if (options.dry_run) {
    for (const auto& run : runs) print_plan(run, options);
    return ExitCode::done;
  }
  check_device(options.device);
  insist_on_quantization(quantization_of(options.quantize), choose_device(options.device));
  LazyEngine engine(options);
  ExitCode code = ExitCode::done;
  const auto shown = make_progress(options.quiet ? "off" : options.progress);
  TraceFile trace(options.trace);
  RunTracer traced(*shown, trace.recorder());
  RunProgress& progress = trace.wanted() ? traced : *shown;
  for (const auto& run : runs) {
    RunFolder folder = RunFolder::open(run.plan.run_folder, run.plan, run.info,
                                       options.fresh ? Resume::start_over : Resume::from_disk);
    report_findings(folder);
    try {
      const RunTotals totals = make_items(run, folder, engine, options, progress, stop);
      if (totals.failed > 0) code = ExitCode::items_failed;
      print_totals(run, totals, options.json);
    } catch (const Interrupted&) {
      log_warning("interrupted; run the same command again to go on");
      return stop.exit_code();
    }
  }
  trace.write();
  return code;
}

}  // namespace

Precision precision_of(const std::string& dtype) {
  if (dtype == "auto") return Precision::automatic;
  if (dtype == "float32") return Precision::float32;
  if (dtype == "bfloat16") return Precision::bfloat16;
  if (dtype == "float16") return Precision::float16;
  throw UsageError("--dtype " + dtype, "no such precision",
                   "give float32, bfloat16, float16 or auto");
}

MemoryWish memory_wish(const GenerateOptions& options) {
  return {.precision = precision_of(options.dtype),
          .quantization = quantization_of(options.quantize),
          .batch_size = options.batch_size,
          .allow_lower_precision = options.allow_lower_precision};
}

Quantization quantization_of(const std::string& name) {
  if (const auto known = quantization_named(name)) return *known;
  throw UsageError("--quantize " + name, "no such quantization", "give none, int8 or fp8");
}

Run declare_generate(CLI::App& app) {
  const auto options = std::make_shared<GenerateOptions>();
  app.add_option("specs", options->specs, "job specs in YAML; several make a run folder each");
  declare_common_options(app, *options);
  declare_job_options(app, *options);
  return [options](StopSignal& stop) { return generate(*options, stop); };
}

}  // namespace backlot
