// What generate and fleet-run have in common around a run: options, folders, results.
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <span>

#include "base/units.h"
#include "command.h"
#include "generate.h"
#include "log.h"

namespace backlot {

void declare_run_options(CLI::App& app, GenerateOptions& options) {
  app.add_option("-o,--output", options.output, "the run folder itself (else OUTPUT.DIR/NAME)")
      ->check([](const std::string& text) {
        return text.empty() ? std::string("is empty; name the run folder") : std::string();
      });
  app.add_option("--set", options.sets, "override a value of the spec: path=value");
  offer_values(*app.add_option("--dtype", options.dtype, "float32, bfloat16, float16 or auto"),
               precision_names);
  offer_values(
      *app.add_option(
          "--quantize", options.quantize,
          "none, int8 (CPU) or fp8 (Ada and Hopper GPUs): faster, slightly other pictures"),
      quantization_names);
  app.add_option("--batch-size", options.batch_size,
                 "pictures made together (else by free memory); clips are made one by one")
      ->check(CLI::Range(1, 4096));
  app.add_option("--checkpoint-steps", options.checkpoint_steps,
                 "keep what there is of a clip after every N steps, 0: never (else every 20 s), so "
                 "that a run that was ended goes on from there")
      ->check(CLI::Range(0, 1000));
  app.add_option("--quota", options.quota,
                 "stop before the run folder's outputs take more than this, e.g. 50GB");
  app.add_option("--min-free", options.min_free,
                 "stop before less than this is free on the disk (else 1 % of it, at most 512MiB)");
  app.add_flag("--allow-lower-precision", options.allow_lower_precision,
               "where float32 does not fit into memory, bfloat16 may take its place");
  app.add_flag("--dry-run", options.dry_run, "say what would be made and what memory it takes");
  app.add_flag("--fresh", options.fresh, "start over: remove what an earlier run made");
  app.add_flag("--no-metadata", options.no_metadata, "keep parameters out of the outputs");
  app.add_option("--progress", options.progress, "auto, bar, plain, json or off")
      ->check(CLI::IsMember({"auto", "bar", "plain", "json", "off"}));
  declare_metrics_options(app, options.metrics);
  app.add_flag("--json", options.json, "print results as JSON, one object a run");
  app.add_flag("-q,--quiet", options.quiet, "errors only");
  app.add_flag("-v,--verbose", options.verbose, "more detail");
  app.add_flag("--log-json", options.log_json, "messages as JSON, one object a line");
}

void check_run_options(const GenerateOptions& options) {
  precision_of(options.dtype);
  if (quantization_of(options.quantize) == Quantization::int8 && options.dtype == "float16")
    throw UsageError("--quantize int8", "does not go with --dtype float16",
                     "give --dtype bfloat16 or float32");
  if (options.allow_lower_precision && options.dtype != "float32" && options.dtype != "auto")
    throw UsageError("--allow-lower-precision", "there is nothing below " + options.dtype,
                     "leave it out, or give --dtype float32");
  space_limits_of(options);
  check_cache_options(options.cache);
}

SpaceLimits space_limits_of(const GenerateOptions& options) {
  const auto size = [](const char* option, const std::string& text) -> std::optional<uint64_t> {
    if (text.empty()) return std::nullopt;
    if (const auto bytes = parse_bytes(text)) return bytes;
    throw UsageError(fmt::format("{} {}", option, text), "is no size",
                     "give a number of bytes, or a size such as 50GB or 50GiB");
  };
  SpaceLimits limits;
  limits.quota = size("--quota", options.quota);
  // Nothing at all may be wanted of the disk, but not of a run.
  limits.min_free = options.min_free == "0" ? 0 : size("--min-free", options.min_free);
  return limits;
}

MemoryWish memory_wish(const GenerateOptions& options) {
  return {.precision = precision_of(options.dtype),
          .quantization = quantization_of(options.quantize),
          .batch_size = options.batch_size,
          .allow_lower_precision = options.allow_lower_precision};
}

Precision precision_of(const std::string& dtype) {
  if (const auto known = precision_named(dtype)) return *known;
  throw UsageError("--dtype " + dtype, "no such precision",
                   "give float32, bfloat16, float16 or auto");
}

Quantization quantization_of(const std::string& name) {
  if (const auto known = quantization_named(name)) return *known;
  throw UsageError("--quantize " + name, "no such quantization", "give none, int8 or fp8");
}

void configure_log(const GenerateOptions& options) {
  configure_log(options.quiet     ? Verbosity::quiet
                : options.verbose ? Verbosity::verbose
                                  : Verbosity::normal,
                options.log_json);
}

std::vector<PreparedRun> prepare_runs(const GenerateOptions& options) {
  std::vector<PreparedRun> runs;
  for (auto& document : read_documents(options))
    runs.push_back(prepare_run(std::move(document), options));
  for (size_t i = 0; i < options.specs.size(); ++i) runs.at(i).spec = options.specs[i];
  for (size_t i = 0; i < runs.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (runs[i].plan.run_folder == runs[j].plan.run_folder)
        throw UsageError(
            options.specs[i],
            fmt::format("would go into {}, as {} does", runs[i].shown_folder, options.specs[j]),
            "give one of them another name: (or --set name=…), or run them singly");
  return runs;
}

void insist_on_pictures(const std::vector<PreparedRun>& runs) {
  for (const auto& run : runs)
    if (run.plan.task == Task::enhance)
      throw UsageError(run.spec.empty() ? "the task enhance" : run.spec,
                       "makes texts, not pictures",
                       fmt::format("run 'backlot enhance {}'", run.spec));
}

void conduct_in_turn(std::vector<PreparedRun>& runs, const GenerateOptions& options,
                     const std::function<void(PreparedRun& run)>& conduct) {
  for (size_t i = 0; i < runs.size(); ++i) try {
      conduct(runs[i]);
    } catch (...) {
      if (i + 1 < runs.size())
        log_warning(fmt::format("not started: {}; the same command{} goes on with {}",
                                fmt::join(std::span(options.specs).subspan(i + 1), ", "),
                                options.fresh ? " without --fresh" : "",
                                i + 2 < runs.size() ? "them" : "it"));
      throw;
    }
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
        fmt::format("{} output(s) of an earlier spec have names that new ones take; they "
                    "are replaced (another output.name keeps both)",
                    replaced));
  if (!found.leftover.empty())
    log_info(fmt::format("{} output(s) of items that the spec no longer has stay as they are",
                         found.leftover.size()));
  if (found.unreadable_lines > 0)
    log_warning(fmt::format("{} unreadable journal line(s) passed over", found.unreadable_lines));
}

void say_cut_short() { log_warning("interrupted; run the same command again to go on"); }

void print_totals(const PreparedRun& run, const RunTotals& totals, bool json) {
  if (!json) return print_result(run.shown_folder);
  print_result(Json{{"run", run.shown_folder},
                    {"items", totals.items},
                    {"reused", totals.reused},
                    {"done", totals.done},
                    {"cached", totals.cached},
                    {"failed", totals.failed},
                    {"seconds", totals.seconds}}
                   .dump());
}

}  // namespace backlot
