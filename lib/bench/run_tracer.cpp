#include "bench/run_tracer.h"

#include <fmt/format.h>

namespace backlot {

RunTracer::RunTracer(RunProgress& next, TraceRecorder& recorder)
    : next_(next), recorder_(recorder), stages_(recorder) {}

void RunTracer::begin(const Plan& plan, int64_t items, int64_t reused) {
  recorder_.name_thread("compute");
  next_.begin(plan, items, reused);
}

void RunTracer::batch_begun(std::span<const Item* const> batch) {
  std::vector<std::string> items;
  for (const Item* item : batch) items.push_back(item->output);
  stages_.begin_items(std::move(items));
  next_.batch_begun(batch);
}

void RunTracer::stage(std::string_view name) {
  stages_.stage(name);
  next_.stage(name);
}

void RunTracer::step(int64_t done, int64_t total, int64_t batch) {
  stages_.step(done, total);
  next_.step(done, total, batch);
}

void RunTracer::stage_ended() {
  stages_.end();
  next_.stage_ended();
}

void RunTracer::writing(const Item& item) {
  {
    const std::lock_guard lock(mutex_);
    const auto [place, added] = writing_since_.emplace(std::this_thread::get_id(), 0.0);
    if (added) recorder_.name_thread(fmt::format("write {}", writing_since_.size()));
    place->second = trace_clock();
  }
  next_.writing(item);
}

void RunTracer::written(const Item& item) {
  double begin = 0;
  {
    const std::lock_guard lock(mutex_);
    const auto since = writing_since_.find(std::this_thread::get_id());
    if (since == writing_since_.end() || since->second == 0) return;  // failed before its writing
    begin = std::exchange(since->second, 0.0);
  }
  const double now = trace_clock();
  recorder_.span("write", "write", begin, now, {{"item", item.output}});
  recorder_.item_span(item.output, "write", begin, now);
}

void RunTracer::item_done(const Item& item, double seconds) {
  written(item);
  next_.item_done(item, seconds);
}

void RunTracer::item_failed(const Item& item, const std::string& error) {
  written(item);
  next_.item_failed(item, error);
}

void RunTracer::warning(const std::string& text) { next_.warning(text); }

void RunTracer::detail(const std::string& text) { next_.detail(text); }

void RunTracer::item_progress(const Item& item, int percent, std::string_view preview) {
  next_.item_progress(item, percent, preview);
}

void RunTracer::item_retried(const Item& item, const std::string& why) {
  next_.item_retried(item, why);
}

void RunTracer::item_recorded(const Item& item, const Record& record) {
  next_.item_recorded(item, record);
}

void RunTracer::end(const RunTotals& totals) {
  stages_.end();
  next_.end(totals);
}

}  // namespace backlot
