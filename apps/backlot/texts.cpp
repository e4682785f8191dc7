#include "texts.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/time.h"
#include "enhance/session_text_maker.h"
#include "enhance/text_stage.h"
#include "fleet/devices.h"
#include "fleet/own_child.h"
#include "log.h"

namespace backlot {
namespace {

void tell(const TextTotals& totals, int64_t texts, double seconds) {
  if (totals.made == 0 && totals.cached == 0) return;
  std::string line = fmt::format("{} prompt(s) enhanced in {:.1f} s", totals.made, seconds);
  if (totals.cached > 0) line += fmt::format(", {} from the cache", totals.cached);
  if (totals.found > 0) line += fmt::format(", {} of {} made before", totals.found, texts);
  if (totals.fell_back > 0)
    line += fmt::format("; {} kept as they were, the manifest says why", totals.fell_back);
  log_info(line);
}

bool lacks_texts(const RunFolder& folder) {
  return std::ranges::any_of(folder.pending(), [&](const Item* item) {
    return !item->text_id.empty() && !folder.text(item->text_id);
  });
}

// What makes the run's texts and nothing else, in its folder.
std::vector<std::string> texts_command(const PreparedRun& run, const GenerateOptions& options,
                                       const std::string& device) {
  std::vector<std::string> words{fs::read_symlink("/proc/self/exe").string(), "generate", run.spec};
  // One word each, so that a value which begins with a dash stays a value.
  const auto give = [&](const char* option, const std::string& value) {
    if (!value.empty()) words.push_back(fmt::format("{}={}", option, value));
  };
  for (const auto& set : options.sets) give("--set", set);
  words.insert(words.end(), {"--texts-only", "--progress=off"});
  give("--output", run.plan.run_folder.string());
  give("--device", device);
  give("--dtype", options.dtype);
  if (options.threads > 0) give("--threads", std::to_string(options.threads));
  give("--cache-dir", options.cache.folder);
  give("--cache-max-size", options.cache.max_size);
  give("--cache-max-age", options.cache.max_age);
  // What the run's resolved spec holds, so that it stays the same.
  give("--quota", options.quota);
  give("--min-free", options.min_free);
  if (options.no_metadata) words.push_back("--no-metadata");
  if (options.quiet) words.push_back("--quiet");
  if (options.verbose) words.push_back("--verbose");
  if (options.log_json) words.push_back("--log-json");
  return words;
}

}  // namespace

std::string text_packing_name(WeightPacking packing) {
  return packing == WeightPacking::int8 ? "int8" : packing == WeightPacking::int4 ? "int4" : "none";
}

TextTotals make_run_texts(PreparedRun& run, RunFolder& folder, const GenerateOptions& options,
                          const std::function<Engine&()>& engine, ResultCache* cache,
                          const StopSignal& stop, const TextMaking& making) {
  if (run.plan.texts.empty()) return {};
  const auto load = [&](const fs::path& model) -> std::unique_ptr<TextMaker> {
    log_info(fmt::format("enhancing prompts with {}", model.filename().string()));
    return std::make_unique<OwnedTextMaker>(
        LanguageSessionOptions{.model = model,
                               .precision = precision_of(options.dtype),
                               .packing = making.packing,
                               .max_sequences = making.max_sequences,
                               .stop_requested = [&stop] { return stop.requested(); }},
        engine);
  };
  TextStageOptions how;
  how.cache = cache;
  how.how =
      made_with(choose_device(options.device), options.dtype, text_packing_name(making.packing));
  how.failed = making.failed;
  how.told = making.told;
  if (!how.told)
    how.told = [](const TextRecord& record, bool) {
      if (!record.note.empty())
        log_warning(fmt::format("'{}': {}", record.prompt.substr(0, 60), record.note));
      else
        log_detail(fmt::format("'{}': {}", record.prompt.substr(0, 60), record.text));
    };
  const Stopwatch watch;
  const TextTotals totals = make_texts(run.plan, folder, load, how);
  tell(totals, std::ssize(run.plan.texts), watch.seconds());
  return totals;
}

void take_run_texts(PreparedRun& run, RunFolder& folder, const GenerateOptions& options) {
  if (run.plan.texts.empty()) return;
  make_texts(run.plan, folder, [&](const fs::path&) -> std::unique_ptr<TextMaker> {
    throw UsageError(
        run.plan.name, "has an enhance stage whose texts are not made yet",
        fmt::format("make them first: backlot generate {} --texts-only -o {}{}", run.spec,
                    run.shown_folder, options.sets.empty() ? "" : ", with the same --set"));
  });
}

RunFolder open_with_texts(const PreparedRun& run, const RunFolderOptions& how,
                          const GenerateOptions& options, const std::string& device,
                          const StopSignal& stop) {
  const auto open = [&](const RunFolderOptions& in) {
    return RunFolder::open(run.plan.run_folder, run.plan, run.info, in);
  };
  {
    RunFolder folder = open(how);
    if (how.shard || !lacks_texts(folder)) return folder;
  }  // its lock is the other process's now
  run_own_child(texts_command(run, options, device), stop);
  RunFolderOptions again = how;
  again.resume = Resume::from_disk;
  return open(again);
}

}  // namespace backlot
