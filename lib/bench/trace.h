// What happened when, on which thread: written in Chrome's trace event format, which
// chrome://tracing and ui.perfetto.dev open.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/json.h"

namespace backlot {

// Seconds on the monotonic clock, the same for all processes of a machine: traces of several
// processes can be laid side by side.
double trace_clock();

struct TraceSpan {
  std::string name;           // "denoise", "step 3/20"
  std::string category;       // "stage", "step", "write"; "item" for those on an item's own track
  double begin = 0, end = 0;  // on trace_clock()
  int64_t process = 0;
  int64_t thread = 0;       // the track: numbered from 1 in the order in which threads first spoke
  std::string thread_name;  // "" if it has none
  std::string item;         // what an "item" span belongs to
  Json arguments = Json::object();

  double seconds() const { return end - begin; }
};

// Collects spans from any number of threads.
class TraceRecorder {
 public:
  // Spans beyond `most` are counted, not kept: a run of a million pictures must not run out of
  // memory for its trace.
  explicit TraceRecorder(size_t most = 1'000'000);

  // On the calling thread's track.
  void span(std::string_view name, std::string_view category, double begin, double end,
            Json arguments = Json::object());

  // On a track of the item's own, beside those of the threads.
  void item_span(std::string_view item, std::string_view name, double begin, double end);

  void name_thread(std::string_view name);  // the calling one

  // Takes over what another process recorded; `process_name` is shown over its tracks.
  void merge(const std::vector<TraceSpan>& spans, std::string_view process_name);

  std::vector<TraceSpan> spans() const;

  // Throws EnvironmentError.
  void write(const fs::path& file) const;
  Json to_json() const;

 private:
  int64_t track();  // with the lock held
  void keep(TraceSpan span);

  mutable std::mutex mutex_;
  size_t most_, dropped_ = 0;
  std::vector<TraceSpan> spans_;
  std::map<std::thread::id, int64_t> tracks_;
  std::map<std::pair<int64_t, int64_t>, std::string> names_;  // of process and track
  std::map<int64_t, std::string> process_names_;              // of merged ones
};

// The spans of a file that TraceRecorder wrote. Throws EnvironmentError.
std::vector<TraceSpan> read_trace(const fs::path& file);

// Turns what a pipeline says of itself (stage by stage, step by step) into spans. For one thread.
class StageTracer {
 public:
  explicit StageTracer(TraceRecorder& recorder) : recorder_(recorder) {}

  // What the stages from here on are for.
  void begin_items(std::vector<std::string> items);
  void stage(std::string_view name);  // ends the one before
  void step(int64_t done, int64_t total);
  void end();  // of the stage in hand, if any

 private:
  TraceRecorder& recorder_;
  std::vector<std::string> items_;
  std::string stage_;
  double stage_begin_ = 0, step_begin_ = 0;
};

}  // namespace backlot
