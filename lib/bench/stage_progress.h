// Keeps what a pipeline says of its stages and steps: as spans, and the denoising steps' times.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/stop.h"
#include "base/time.h"
#include "bench/run_tracer.h"
#include "bench/statistics.h"

namespace backlot {

class StageProgress : public Progress {
 public:
  StageProgress(TraceRecorder& recorder, const StopSignal& stop) : tracer_(recorder), stop_(stop) {}

  void stage(std::string_view name) override {
    tracer_.stage(name);
    denoising_ = name == "denoise";
    watch_ = Stopwatch();
  }
  void step(int64_t done, int64_t total) override {
    tracer_.step(done, total);
    const double seconds = watch_.lap();
    if (denoising_ && done > 0) steps_.push_back(seconds);
  }
  bool stop_requested() const override { return stop_.requested(); }

  void begin(std::vector<std::string> items) {
    steps_.clear();
    tracer_.begin_items(std::move(items));
  }
  void end() { tracer_.end(); }
  double median_step() const { return median(steps_); }

 private:
  StageTracer tracer_;
  const StopSignal& stop_;
  bool denoising_ = false;
  Stopwatch watch_;
  std::vector<double> steps_;
};

}  // namespace backlot
