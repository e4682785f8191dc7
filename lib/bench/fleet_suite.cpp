// Suite `fleet`: the same work for one worker process, two, and so on. On the CPU they share its
// threads; GPUs are dealt out in turn.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/machine.h"
#include "base/text.h"
#include "bench/bench.h"
#include "bench/worker.h"
#include "fleet/devices.h"
#include "weights/memory.h"

namespace backlot {
namespace {

constexpr int usual_repeats = 3;
constexpr int64_t pictures_each = 8;

std::vector<std::string> gpus() {
  std::vector<std::string> names;
  for (const auto& device : list_devices())
    if (device.name.starts_with("cuda")) names.push_back(device.name);
  return names;
}

class FleetSuite {
 public:
  explicit FleetSuite(Bench& bench) : bench_(bench), request_(bench.request()) {
    if (request_.device.starts_with("cuda")) gpus_ = gpus();
  }

  void run() {
    for (const auto& dtype : request_.dtypes) {
      one_worker_ = 0;
      for (const int workers : worker_counts()) {
        const std::string name =
            fmt::format("{}/{}/steps-{}/workers-{}", case_prefix("fleet", request_, dtype),
                        size_name(request_.sizes.front()), request_.steps.front(), workers);
        if (!request_.wants(name)) continue;
        if (!fits(dtype, workers)) {
          bench_.note(
              fmt::format("{}: left out, as {} would not fit into memory together", name, workers));
          continue;
        }
        measure(name, dtype, workers);
      }
    }
  }

 private:
  // 1, 2, 4, … and the most: a worker a GPU, or one a thread.
  std::vector<int> worker_counts() const {
    const int most = gpus_.empty() ? request_.threads : static_cast<int>(gpus_.size());
    std::vector<int> counts;
    for (int count = 1; count < most; count *= 2) counts.push_back(count);
    counts.push_back(std::max(most, 1));
    return counts;
  }

  bool fits(const std::string& dtype, int workers) const {
    if (!gpus_.empty()) return true;
    const Size size = request_.sizes.front();
    if (workers == 1) return true;
    const auto sizes = model_sizes(ModelFolder::open(request_.model), request_.variant);
    const LoadedAs as{.dtype = dtype == "auto" ? "float32" : dtype};
    const auto weights = weight_bytes(sizes, as);
    const uint64_t need =
        weights.networks + weights.text_encoders +
        working_bytes(
            sizes, as,
            {.width = size[1], .height = size[0], .guidance = request_.guidance_scale > 1}, 1);
    return static_cast<uint64_t>(workers) * need < memory_available_bytes();
  }

  void measure(const std::string& name, const std::string& dtype, int workers) {
    BenchCase out{.suite = "fleet",
                  .name = name,
                  .measures = "an item",
                  .parameters = {{"model", request_.model_name},
                                 {"device", request_.device},
                                 {"dtype", dtype},
                                 {"workers", workers},
                                 {"threads_each", std::max(1, request_.threads / workers)},
                                 {"pictures_each", pictures_each}}};
    std::vector<double> start;
    try {
      for (int round = 0; round < request_.repeats_or(usual_repeats); ++round) {
        bench_.check_stop();
        run_workers(name, dtype, workers, round == 0, out.seconds, start);
      }
      out.stages = {{"start", start}};
      const double rate = 1 / out.summary().median;
      out.figures["items_per_second"] = rate;
      if (workers == 1) one_worker_ = rate;
      if (one_worker_ > 0) {
        out.figures["speed_up"] = rate / one_worker_;
        // Workers on the CPU share what one has alone; those on GPUs have one each.
        out.figures["efficiency"] = rate / one_worker_ / (gpus_.empty() ? 1 : workers);
      }
    } catch (const EnvironmentError& error) {
      out.error = error.problem();
      out.seconds.clear();
    }
    bench_.add(std::move(out));
  }

  // From the first picture begun to the last one written: loading is the load suite's.
  void run_workers(const std::string& name, const std::string& dtype, int workers, bool draw,
                   std::vector<double>& seconds, std::vector<double>& start) {
    const ScratchFolder scratch;
    std::vector<Child> children;
    std::vector<double> started;
    for (int i = 0; i < workers; ++i) {
      const fs::path folder = scratch.path() / std::to_string(i);
      make_folders(folder);
      const WorkerTask task{
          .dtype = dtype,
          .device = gpus_.empty() ? request_.device : gpus_[static_cast<size_t>(i) % gpus_.size()],
          .threads = std::max(1, request_.threads / workers),
          .size = request_.sizes.front(),
          .steps = request_.steps.front(),
          .pictures = pictures_each,
          .batch_size = request_.worker_batch_size,
          .guidance_scale = request_.guidance_scale};
      children.emplace_back(worker_arguments(request_, task, folder), folder / "log");
      started.push_back(children.back().started());
    }
    wait_for(children, bench_.stop());
    double begin = 0, end = 0, start_up = 0;
    std::vector<TraceSpan> all;
    for (int i = 0; i < workers; ++i) {
      const auto spans = read_trace(scratch.path() / std::to_string(i) / "trace.json");
      const WorkerTimes times = worker_times(spans);
      begin = begin == 0 ? times.work_begin : std::min(begin, times.work_begin);
      end = std::max(end, times.last_written);
      start_up = std::max(start_up, times.work_begin - started[static_cast<size_t>(i)]);
      bench_.recorder().merge(spans, fmt::format("{} worker {}", name, i + 1));
      for (auto span : spans) {
        span.thread = i;  // a track for each worker
        if (span.category == "stage") all.push_back(std::move(span));
      }
    }
    seconds.push_back((end - begin) / static_cast<double>(workers * pictures_each));
    start.push_back(start_up);
    if (draw && workers == worker_counts().back())
      bench_.add(make_timeline(name, all, started.front(), [](const TraceSpan& span) {
        return fmt::format("worker {}", span.thread + 1);
      }));
  }

  Bench& bench_;
  const BenchRequest& request_;
  std::vector<std::string> gpus_;
  double one_worker_ = 0;
};

}  // namespace

void run_fleet_suite(Bench& bench) { FleetSuite(bench).run(); }

}  // namespace backlot
