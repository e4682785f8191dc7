// What a benchmark found: kept as JSON, shown as tables and as a page, compared with an earlier
// one.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "bench/statistics.h"
#include "bench/trace.h"

namespace backlot {

// One thing that was measured. Always in seconds, and less is better, so that any two runs of it
// can be compared.
struct BenchCase {
  std::string suite;     // image, language, load, kernels, fleet
  std::string name;      // "image/pocket-xl/cpu/auto/128x128/steps-20/guidance-5/batch-4"
  std::string measures;  // what a second is of: "a picture", "a call", …
  Json parameters = Json::object();  // what was asked, and what the engine chose
  std::vector<double> seconds;       // a value a repeat
  // Parts of the whole, a value a repeat: text_encode, denoise, decode, step.
  std::vector<std::pair<std::string, std::vector<double>>> stages;
  Json figures = Json::object();  // numbers that follow from the median: name -> number
  std::string error;              // why it could not be measured; "" if it was

  Summary summary() const { return summarise(seconds); }
  double stage_median(std::string_view stage) const;  // 0 if there is no such stage
  double figure(const std::string& key) const;        // 0 if it was not found
};

// One run as a picture of what overlapped: tracks of spans, from zero on.
struct Timeline {
  struct Bar {
    std::string track, name, kind;  // kind: stage, step or write
    double begin = 0, seconds = 0;
  };
  std::string title;
  std::vector<Bar> bars;
};

// What the device reached at its best, measured before its kernels.
struct MeasuredCeiling {
  std::string device, dtype;
  double flops_per_second = 0, bytes_per_second = 0;
};

struct BenchResults {
  std::string started;   // ISO 8601
  double seconds = 0;    // that the whole took
  bool complete = true;  // false: interrupted
  Json machine = Json::object(), options = Json::object();
  std::vector<BenchCase> cases;
  std::vector<MeasuredCeiling> ceilings;
  std::vector<Timeline> timelines;
  std::vector<std::string> notes;  // what was left out, and why
};

// As docs/schema/bench.schema.json says.
Json to_json(const BenchResults& results);

// Throws UsageError, about `source`, if `json` is not what to_json() makes.
BenchResults bench_results(const Json& json, const std::string& source);

// At most `most` bars, from the earliest on; `begin` becomes zero. Tracks are named by
// `track_name(span)`.
template <class TrackName>
Timeline make_timeline(std::string title, const std::vector<TraceSpan>& spans, double begin,
                       TrackName track_name, size_t most = 300) {
  Timeline timeline{.title = std::move(title)};
  for (const auto& span : spans) {
    if (span.category == "item" || span.begin < begin) continue;
    if (timeline.bars.size() == most) break;
    timeline.bars.push_back(
        {track_name(span), span.name, span.category, span.begin - begin, span.seconds()});
  }
  return timeline;
}

}  // namespace backlot
