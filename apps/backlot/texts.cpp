#include "texts.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/time.h"
#include "enhance/session_text_maker.h"
#include "enhance/text_stage.h"
#include "fleet/devices.h"
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

}  // namespace

void make_run_texts(PreparedRun& run, RunFolder& folder, const GenerateOptions& options,
                    const std::function<Engine&()>& engine, ResultCache* cache,
                    const StopSignal& stop) {
  if (run.plan.texts.empty()) return;
  const auto load = [&](const fs::path& model) -> std::unique_ptr<TextMaker> {
    log_info(fmt::format("enhancing prompts with {}", model.filename().string()));
    return std::make_unique<OwnedTextMaker>(
        LanguageSessionOptions{.model = model,
                               .precision = precision_of(options.dtype),
                               .stop_requested = [&stop] { return stop.requested(); }},
        engine);
  };
  TextStageOptions how;
  how.cache = cache;
  how.how = made_with(choose_device(options.device), options.dtype, "none");
  how.told = [](const TextRecord& record) {
    if (!record.note.empty())
      log_warning(fmt::format("'{}': {}", record.prompt.substr(0, 60), record.note));
    else
      log_detail(fmt::format("'{}': {}", record.prompt.substr(0, 60), record.text));
  };
  const Stopwatch watch;
  const TextTotals totals = make_texts(run.plan, folder, load, how);
  tell(totals, std::ssize(run.plan.texts), watch.seconds());
}

void take_run_texts(PreparedRun& run, RunFolder& folder) {
  if (run.plan.texts.empty()) return;
  make_texts(run.plan, folder, [&](const fs::path&) -> std::unique_ptr<TextMaker> {
    throw UsageError(
        run.plan.name, "has an enhance stage whose texts are not made yet",
        fmt::format("make them first: backlot generate SPEC --texts-only -o {}", run.shown_folder));
  });
}

}  // namespace backlot
