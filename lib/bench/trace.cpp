#include "bench/trace.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cmath>

#include "base/error.h"

namespace backlot {
namespace {

constexpr uint64_t max_trace_bytes = uint64_t{1} << 30;

// Microseconds to a thousandth, as the format counts time.
double microseconds(double seconds) { return std::round(seconds * 1e9) / 1e3; }

Json metadata(std::string_view what, int64_t process, int64_t thread, const std::string& name) {
  return {
      {"ph", "M"}, {"name", what}, {"pid", process}, {"tid", thread}, {"args", {{"name", name}}}};
}

// Spans on threads are complete events; an item's are nestable asynchronous ones, for which the
// viewers make a track for each id.
void add_events(Json& events, const TraceSpan& span) {
  Json event{{"ph", "X"},           {"name", span.name},  {"cat", span.category},
             {"pid", span.process}, {"tid", span.thread}, {"ts", microseconds(span.begin)}};
  if (span.category != "item") {
    event["dur"] = microseconds(span.seconds());
    if (!span.arguments.empty()) event["args"] = span.arguments;
    events.push_back(std::move(event));
    return;
  }
  event["ph"] = "b";
  event["id"] = span.item;
  event["args"] = {{"item", span.item}};
  Json end = event;
  end["ph"] = "e";
  end["ts"] = microseconds(span.end);
  end.erase("args");
  events.push_back(std::move(event));
  events.push_back(std::move(end));
}

}  // namespace

double trace_clock() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

TraceRecorder::TraceRecorder(size_t most) : most_(most) {}

int64_t TraceRecorder::track() {
  return tracks_.emplace(std::this_thread::get_id(), std::ssize(tracks_) + 1).first->second;
}

void TraceRecorder::keep(TraceSpan span) {
  if (spans_.size() < most_)
    spans_.push_back(std::move(span));
  else
    ++dropped_;
}

void TraceRecorder::span(std::string_view name, std::string_view category, double begin, double end,
                         Json arguments) {
  const std::lock_guard lock(mutex_);
  keep({.name = std::string(name),
        .category = std::string(category),
        .begin = begin,
        .end = end,
        .process = ::getpid(),
        .thread = track(),
        .arguments = std::move(arguments)});
}

void TraceRecorder::item_span(std::string_view item, std::string_view name, double begin,
                              double end) {
  const std::lock_guard lock(mutex_);
  keep({.name = std::string(name),
        .category = "item",
        .begin = begin,
        .end = end,
        .process = ::getpid(),
        .thread = track(),
        .item = std::string(item)});
}

void TraceRecorder::name_thread(std::string_view name) {
  const std::lock_guard lock(mutex_);
  names_[{::getpid(), track()}] = name;
}

void TraceRecorder::merge(const std::vector<TraceSpan>& spans, std::string_view process_name) {
  const std::lock_guard lock(mutex_);
  for (const auto& span : spans) {
    process_names_[span.process] = process_name;
    if (!span.thread_name.empty()) names_[{span.process, span.thread}] = span.thread_name;
    keep(span);
  }
}

std::vector<TraceSpan> TraceRecorder::spans() const {
  const std::lock_guard lock(mutex_);
  return spans_;
}

Json TraceRecorder::to_json() const {
  const std::lock_guard lock(mutex_);
  const int64_t self = ::getpid();
  Json events = Json::array();
  events.push_back(metadata("process_name", self, 0, "backlot"));
  for (const auto& [process, name] : process_names_)
    if (process != self) events.push_back(metadata("process_name", process, 0, name));
  for (const auto& [track, name] : names_)
    events.push_back(metadata("thread_name", track.first, track.second, name));
  for (const auto& span : spans_) add_events(events, span);
  Json out{{"displayTimeUnit", "ms"}, {"traceEvents", std::move(events)}};
  if (dropped_ > 0) out["otherData"] = {{"spans_left_out", dropped_}};
  return out;
}

void TraceRecorder::write(const fs::path& file) const {
  write_file_durably(file, to_json().dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

std::vector<TraceSpan> read_trace(const fs::path& file) {
  const Json json = Json::parse(read_file(file, max_trace_bytes), nullptr, false);
  std::vector<TraceSpan> spans;
  std::map<std::pair<int64_t, int64_t>, std::string> names;  // of process and thread
  std::map<std::string, size_t> open;  // asynchronous spans that have begun, by id and name
  try {
    for (const auto& event : json.at("traceEvents")) {
      const std::string phase = event.at("ph");
      const std::pair track(event.at("pid").get<int64_t>(), event.at("tid").get<int64_t>());
      if (phase == "M") {
        if (event.at("name") == "thread_name") names[track] = event.at("args").at("name");
        continue;
      }
      const double at = event.at("ts").get<double>() / 1e6;
      const std::string name = event.at("name"), id = event.value("id", "");
      if (phase == "e") {
        if (const auto begun = open.find(id + '\n' + name); begun != open.end())
          spans[begun->second].end = at;
        continue;
      }
      if (phase == "b") open[id + '\n' + name] = spans.size();
      spans.push_back(
          {.name = name,
           .category = event.value("cat", ""),
           .begin = at,
           .end = at + event.value("dur", 0.0) / 1e6,
           .process = track.first,
           .thread = track.second,
           .thread_name = names[track],
           .item = id,
           .arguments = phase == "X" ? event.value("args", Json::object()) : Json::object()});
    }
  } catch (const Json::exception&) {
    throw EnvironmentError(file.string(), "is no trace that this backlot can read",
                           "have it written again with --trace");
  }
  return spans;
}

void StageTracer::begin_items(std::vector<std::string> items) {
  end();
  items_ = std::move(items);
}

void StageTracer::stage(std::string_view name) {
  end();
  stage_ = name;
  stage_begin_ = step_begin_ = trace_clock();
}

void StageTracer::step(int64_t done, int64_t total) {
  const double now = trace_clock();
  if (done > 0)
    recorder_.span(fmt::format("step {}/{}", done, total), "step", step_begin_, now,
                   {{"stage", stage_}});
  step_begin_ = now;
}

void StageTracer::end() {
  if (stage_.empty()) return;
  const double now = trace_clock();
  Json arguments = Json::object();
  if (!items_.empty() && stage_ != "load") arguments["items"] = items_;
  recorder_.span(stage_, "stage", stage_begin_, now, std::move(arguments));
  if (stage_ != "load")
    for (const auto& item : items_) recorder_.item_span(item, stage_, stage_begin_, now);
  stage_.clear();
}

}  // namespace backlot
