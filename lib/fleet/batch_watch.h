// Carries a pipeline's progress with one batch on to whoever watches the run, and tells the
// pipeline whether to stop.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/stop.h"
#include "base/time.h"
#include "engine/engine.h"
#include "fleet/quarters.h"
#include "fleet/run_progress.h"
#include "spec/item.h"

namespace backlot {

class BatchWatch : public Progress {
 public:
  // All must outlive it. An empty batch: a model is loaded.
  BatchWatch(RunProgress& progress, const StopSignal& stop, std::span<const Item* const> batch)
      : progress_(progress), stop_(stop), batch_(batch), previews_(batch.size()) {}

  void stage(std::string_view name) override;
  void step(int64_t done, int64_t total) override;
  void denoising(std::span<const size_t> items) override;
  bool wants_previews(int64_t done, int64_t total) override;
  void preview(size_t item, const Picture& picture) override;

  // After a first signal the batch goes on if it should end in time.
  bool stop_requested() const override;

 private:
  void say_how_far(int64_t done, int64_t total);

  RunProgress& progress_;
  const StopSignal& stop_;
  std::span<const Item* const> batch_;
  std::vector<std::string> previews_;  // as data: URIs, by place in the batch
  std::vector<size_t> denoised_;       // places in the batch of those that steps are of
  Quarters quarters_;
  std::string stage_;
  Stopwatch step_;
  double step_seconds_ = 0;
  int64_t remaining_ = 0;
};

}  // namespace backlot
