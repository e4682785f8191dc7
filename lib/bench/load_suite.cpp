// Suite `load`: this program started anew until its first picture is a file; the time in which the
// weights come from disk to device; and how fast their files can be read at all.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "bench/bench.h"
#include "bench/file_speed.h"
#include "bench/worker.h"
#include "weights/model_folder.h"

namespace backlot {
namespace {

constexpr int usual_repeats = 3;
constexpr int most_readers = 8;

class LoadSuite {
 public:
  explicit LoadSuite(Bench& bench)
      : bench_(bench),
        request_(bench.request()),
        files_(ModelFolder::open(request_.model).files(request_.variant)),
        bytes_(static_cast<double>(total_bytes(files_))) {}

  void run() {
    for (const auto& dtype : request_.dtypes)
      for (const bool cold : {false, true}) start_up(dtype, cold);
    for (const bool cold : {false, true}) read_files(cold);
  }

 private:
  static const char* cache_name(bool cold) { return cold ? "cold" : "warm"; }

  // False, said once, where the kernel keeps the files' pages.
  bool forget_files() {
    if (can_drop_ && !drop_from_page_cache(files_)) {
      can_drop_ = false;
      bench_.note(
          "load: the kernel keeps the model's files in memory (another process may have "
          "them mapped), so nothing is measured cold");
    }
    return can_drop_;
  }

  BenchCase new_case(const std::string& name, const char* measures, bool cold) const {
    return {.suite = "load",
            .name = name,
            .measures = measures,
            .parameters = {{"model", request_.model_name},
                           {"device", request_.device},
                           {"threads", request_.threads},
                           {"page_cache", cache_name(cold)},
                           {"bytes", bytes_}}};
  }

  void start_up(const std::string& dtype, bool cold) {
    const std::string prefix = case_prefix("load", request_, dtype);
    BenchCase first = new_case(fmt::format("{}/first-picture/{}", prefix, cache_name(cold)),
                               "a start to its first picture", cold);
    BenchCase weights = new_case(fmt::format("{}/weights/{}", prefix, cache_name(cold)),
                                 "loading all weights", cold);
    if (!request_.wants(first.name) && !request_.wants(weights.name)) return;
    std::vector<double> start, load, picture;
    try {
      // A warm start needs a start before it; a cold one only that the files are forgotten.
      const int warm_up = cold ? 0 : request_.warm_up;
      for (int round = 0; round < warm_up + request_.repeats_or(usual_repeats); ++round) {
        if (cold && !forget_files()) return;
        double started = 0;
        const WorkerTimes times =
            start_worker(dtype, started, first.name, round == warm_up && !drawn_);
        if (round < warm_up) continue;
        first.seconds.push_back(times.first_written - started);
        weights.seconds.push_back(times.load_end - times.load_begin);
        start.push_back(times.load_begin - started);
        load.push_back(times.load_end - times.load_begin);
        picture.push_back(times.first_written - times.load_end);
      }
      first.stages = {{"start", start}, {"load", load}, {"picture", picture}};
      weights.figures["bytes_per_second"] = bytes_ / weights.summary().median;
    } catch (const EnvironmentError& error) {
      first.error = weights.error = error.problem();
      first.seconds.clear();
      weights.seconds.clear();
    }
    if (request_.wants(first.name)) bench_.add(std::move(first));
    if (request_.wants(weights.name)) bench_.add(std::move(weights));
  }

  WorkerTimes start_worker(const std::string& dtype, double& started, const std::string& title,
                           bool draw) {
    const ScratchFolder scratch;
    const WorkerTask task{.dtype = dtype,
                          .device = request_.device,
                          .threads = request_.threads,
                          .size = request_.sizes.front()};
    std::vector<Child> children;
    children.emplace_back(worker_arguments(request_, task, scratch.path()), scratch.path() / "log");
    started = children.front().started();
    wait_for(children, bench_.stop());
    auto spans = read_trace(scratch.path() / "trace.json");
    const WorkerTimes times = worker_times(spans);
    spans.insert(spans.begin(), {.name = "start",
                                 .category = "stage",
                                 .begin = started,
                                 .end = times.load_begin,
                                 .process = spans.front().process});
    bench_.recorder().merge(spans, "worker of " + title);
    if (draw) {
      drawn_ = true;
      bench_.add(make_timeline(title, spans, started, [](const TraceSpan& span) {
        return std::string(span.category == "write" ? "writing thread" : "computing thread");
      }));
    }
    return times;
  }

  void read_files(bool cold) {
    const int readers = std::clamp(2 * request_.threads, 2, most_readers);
    BenchCase out = new_case(fmt::format("load/{}/files/{}", request_.model_name, cache_name(cold)),
                             "reading all files", cold);
    if (!request_.wants(out.name)) return;
    out.parameters["readers"] = readers;
    const int warm_up = cold ? 0 : std::max(1, request_.warm_up);
    for (int round = 0; round < warm_up + request_.repeats_or(usual_repeats); ++round) {
      if (cold && !forget_files()) return;
      const double seconds = read_seconds(files_, readers, bench_.stop());
      if (round >= warm_up) out.seconds.push_back(seconds);
    }
    out.figures["bytes_per_second"] = bytes_ / out.summary().median;
    bench_.add(std::move(out));
  }

  Bench& bench_;
  const BenchRequest& request_;
  std::vector<fs::path> files_;
  double bytes_;
  bool can_drop_ = true, drawn_ = false;
};

}  // namespace

void run_load_suite(Bench& bench) { LoadSuite(bench).run(); }

}  // namespace backlot
