// What the suites of a benchmark share: what was asked, where results go, when to stop.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/stop.h"
#include "bench/results.h"
#include "bench/trace.h"
#include "engine/engine.h"

namespace backlot {

// Everything resolved and checked; each list has at least one entry.
struct BenchRequest {
  std::vector<std::string> suites;
  fs::path model;  // a folder or checkpoint; unused with `synthetic`
  std::optional<std::string> variant;
  std::optional<std::string> synthetic;
  std::string model_name;  // as it stands in the names of cases
  // Of suite language, where it is not `synthetic`.
  fs::path language_model;
  std::string language_name;
  // Of suite video, where it is not `synthetic`.
  fs::path video_model;
  std::string video_name;
  std::vector<Size> video_sizes;  // height, width
  std::vector<int64_t> frames, video_steps;
  std::string quantize = "auto";              // as weight_packing_named() knows it
  std::vector<int64_t> language_batch_sizes;  // texts that are written together
  std::string device;                         // cpu, cuda:N
  int threads = 1;
  std::vector<std::string> dtypes;  // "auto", "float32", …
  std::vector<int64_t> batch_sizes, steps;
  std::vector<int64_t> kernel_batch_sizes;  // 1, unless batch sizes were asked for
  int64_t worker_batch_size = 0;            // 0: workers choose by their free memory
  std::vector<Size> sizes;                  // height, width
  double guidance_scale = 5;
  int repeats = 0, warm_up = 1;  // repeats 0: what the suite thinks right
  std::vector<std::string> filters;

  // Whether a case of that name was asked for.
  bool wants(std::string_view name) const;
  int repeats_or(int usual) const { return repeats > 0 ? repeats : usual; }
};

// "image/pocket-xl/cpu/auto/128x128": the parts that cases of all suites begin with.
std::string case_prefix(const std::string& suite, const BenchRequest& request,
                        const std::string& dtype);
std::string size_name(Size size);  // "1024x768": width, then height

Precision bench_precision(const std::string& dtype);

// Hears of results as they come.
class BenchListener {
 public:
  virtual ~BenchListener() = default;
  virtual void measured(const BenchCase& each) = 0;
  virtual void noted(const std::string& note) = 0;
};

class Bench {
 public:
  using OpenEngine = std::function<std::unique_ptr<Engine>()>;

  Bench(BenchRequest request, BenchResults results, OpenEngine open_engine, TraceRecorder& recorder,
        BenchListener& listener, const StopSignal& stop);

  const BenchRequest& request() const { return request_; }
  TraceRecorder& recorder() { return recorder_; }
  const StopSignal& stop() const { return stop_; }
  Engine& engine();  // opened at the first call

  void add(BenchCase each);
  void add(MeasuredCeiling ceiling);
  void add(Timeline timeline);
  void note(const std::string& note);
  void check_stop() const;  // throws Interrupted

  // What was measured so far; from any thread.
  BenchResults results() const;

 private:
  BenchRequest request_;
  OpenEngine open_engine_;
  TraceRecorder& recorder_;
  BenchListener& listener_;
  const StopSignal& stop_;
  std::unique_ptr<Engine> engine_;
  mutable std::mutex mutex_;
  BenchResults results_;
};

// Each throws Interrupted, EnvironmentError, LoadError; what was measured by then is in `bench`.
void run_image_suite(Bench& bench);
void run_load_suite(Bench& bench);
void run_kernel_suite(Bench& bench);
void run_fleet_suite(Bench& bench);
void run_language_suite(Bench& bench);
void run_video_suite(Bench& bench);

}  // namespace backlot
