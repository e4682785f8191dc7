#include "fleet/conduct_run.h"

#include <exception>

#include "base/error.h"
#include "base/stop.h"
#include "base/time.h"
#include "run/report.h"

namespace backlot {
namespace {

// Each for itself: where one can't be done the others still can. Returns the first error.
std::exception_ptr leave_in_order(RunFolder& folder, bool interrupted) {
  std::exception_ptr trouble;
  const auto attempt = [&](const std::function<void()>& step) {
    try {
      step();
    } catch (const Error&) {
      if (!trouble) trouble = std::current_exception();
    }
  };
  if (interrupted) attempt([&] { folder.adopt_journals(); });
  attempt([&] { folder.write_manifest(); });
  attempt([&] { folder.remove_half_written(); });
  attempt([&] { build_report(folder.path()); });
  return trouble;
}

}  // namespace

RunTotals conduct_run(RunFolder& folder, FleetMetrics& metrics, const RunSteps& steps) {
  const Stopwatch watch;
  const Totals before = folder.own_totals();
  steps.begin(before);
  folder.for_each_record([&](const Record& record) { metrics.reuse(record); });
  folder.add_metrics([&metrics] { return metrics.live_text(); });
  const LastWords last_words([&] {
    folder.write_last_manifest();
    if (steps.cut_short) steps.cut_short();
  });
  int64_t cached = 0;
  std::exception_ptr failure;
  try {
    if (!folder.pending().empty()) {
      if (steps.prepare) steps.prepare();
      cached = steps.take_cached();
    }
    const auto pending = folder.pending();
    for (const Item* item : pending) steps.queued(*item);
    if (!pending.empty()) steps.make();
    folder.insist_on_outputs();
  } catch (...) {
    failure = std::current_exception();
  }
  const Totals after = folder.own_totals();
  const RunTotals totals{.items = after.items,
                         .reused = before.done,
                         .done = after.done - before.done,
                         .cached = cached,
                         .failed = after.failed,
                         .pending = after.pending + after.failed,
                         .seconds = watch.seconds()};
  steps.end(totals);
  const std::exception_ptr trouble = leave_in_order(folder, failure != nullptr);
  // What stopped the run (a full disk, say) matters more than that its summary failed too.
  if (failure) std::rethrow_exception(failure);
  if (trouble) std::rethrow_exception(trouble);
  return totals;
}

}  // namespace backlot
