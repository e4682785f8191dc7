#include "bench/worker.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace backlot {

std::vector<std::string> worker_arguments(const BenchRequest& request, const WorkerTask& task,
                                          const fs::path& folder) {
  std::vector<std::string> words{"generate",
                                 "--model",
                                 fs::absolute(request.model).string(),
                                 "--prompt",
                                 "a red apple on a blue background",
                                 "--seed",
                                 "1",
                                 "--count",
                                 std::to_string(task.pictures),
                                 "--width",
                                 std::to_string(task.size[1]),
                                 "--height",
                                 std::to_string(task.size[0]),
                                 "--steps",
                                 std::to_string(task.steps),
                                 "--guidance-scale",
                                 fmt::format("{}", task.guidance_scale),
                                 "--device",
                                 task.device,
                                 "--dtype",
                                 task.dtype,
                                 "--threads",
                                 std::to_string(task.threads),
                                 "--progress",
                                 "off",
                                 "--output",
                                 (folder / "run").string(),
                                 "--trace",
                                 (folder / "trace.json").string()};
  if (request.variant) words.insert(words.end(), {"--variant", *request.variant});
  if (task.batch_size > 0)
    words.insert(words.end(), {"--batch-size", std::to_string(task.batch_size)});
  return words;
}

WorkerTimes worker_times(const std::vector<TraceSpan>& spans) {
  WorkerTimes times;
  for (const auto& span : spans) {
    if (span.category == "stage" && span.name == "load" && times.load_end == 0) {
      times.load_begin = span.begin;
      times.load_end = span.end;
    } else if (span.category == "stage" && span.name != "load") {
      times.work_begin =
          times.work_begin == 0 ? span.begin : std::min(times.work_begin, span.begin);
    } else if (span.category == "write") {
      times.first_written =
          times.first_written == 0 ? span.end : std::min(times.first_written, span.end);
      times.last_written = std::max(times.last_written, span.end);
    }
  }
  if (times.load_end == 0 || times.work_begin == 0 || times.last_written == 0)
    throw EnvironmentError("worker", "left a trace without loading, work or writing",
                           "run it again; please report this if it stays");
  return times;
}

}  // namespace backlot
