#include "bench/bench.h"

#include <fmt/format.h>

#include <algorithm>

#include "bench/kernel_figures.h"

namespace backlot {

bool BenchRequest::wants(std::string_view name) const {
  return filters.empty() || std::ranges::any_of(filters, [&](const std::string& filter) {
           return name.find(filter) != std::string_view::npos;
         });
}

std::string case_prefix(const std::string& suite, const BenchRequest& request,
                        const std::string& dtype) {
  return fmt::format("{}/{}/{}/{}", suite, request.model_name, request.device, dtype);
}

std::string size_name(Size size) { return fmt::format("{}x{}", size[1], size[0]); }

Precision bench_precision(const std::string& dtype) {
  if (dtype == "float32") return Precision::float32;
  if (dtype == "bfloat16") return Precision::bfloat16;
  if (dtype == "float16") return Precision::float16;
  return Precision::automatic;
}

Bench::Bench(BenchRequest request, BenchResults results, OpenEngine open_engine,
             TraceRecorder& recorder, BenchListener& listener, const StopSignal& stop)
    : request_(std::move(request)),
      open_engine_(std::move(open_engine)),
      recorder_(recorder),
      listener_(listener),
      stop_(stop),
      results_(std::move(results)) {}

Engine& Bench::engine() {
  if (!engine_) engine_ = open_engine_();
  return *engine_;
}

void Bench::add(BenchCase each) {
  listener_.measured(each);
  const std::lock_guard lock(mutex_);
  results_.cases.push_back(std::move(each));
}

void Bench::add(MeasuredCeiling ceiling) {
  const std::lock_guard lock(mutex_);
  results_.ceilings.push_back(std::move(ceiling));
}

void Bench::add(Timeline timeline) {
  const std::lock_guard lock(mutex_);
  results_.timelines.push_back(std::move(timeline));
}

void Bench::note(const std::string& note) {
  listener_.noted(note);
  const std::lock_guard lock(mutex_);
  results_.notes.push_back(note);
}

void Bench::check_stop() const {
  if (stop_.requested()) throw Interrupted();
}

BenchResults Bench::results() const {
  const std::lock_guard lock(mutex_);
  BenchResults out = results_;
  add_shares(out.cases);
  return out;
}

}  // namespace backlot
