// A run as a trace: listens to its progress and passes everything on.
#pragma once

#include <map>
#include <mutex>
#include <thread>

#include "bench/trace.h"
#include "fleet/run_progress.h"

namespace backlot {

class RunTracer : public RunProgress {
 public:
  RunTracer(RunProgress& next, TraceRecorder& recorder);

  void begin(const Plan& plan, int64_t items, int64_t reused) override;
  void batch_begun(std::span<const Item* const> batch) override;
  void stage(std::string_view name) override;
  void step(int64_t done, int64_t total, int64_t batch) override;
  void stage_ended() override;
  void writing(const Item& item) override;
  void item_done(const Item& item, double seconds) override;
  void item_failed(const Item& item, const std::string& error) override;
  void warning(const std::string& text) override;
  void detail(const std::string& text) override;
  void end(const RunTotals& totals) override;
  void item_progress(const Item& item, int percent, std::string_view preview) override;
  bool wants_previews() const override { return next_.wants_previews(); }
  void item_queued(const Item& item) override { next_.item_queued(item); }
  void item_retried(const Item& item, const std::string& why) override;
  void item_recorded(const Item& item, const Record& record) override;

 private:
  void written(const Item& item);

  RunProgress& next_;
  TraceRecorder& recorder_;
  StageTracer stages_;  // of the computing thread
  std::mutex mutex_;
  std::map<std::thread::id, double> writing_since_;
};

}  // namespace backlot
