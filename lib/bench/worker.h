// `backlot generate` as a worker of a benchmark: its command line, and what its trace says.
#pragma once

#include <string>
#include <vector>

#include "bench/bench.h"
#include "bench/child.h"

namespace backlot {

struct WorkerTask {
  std::string dtype, device;
  int threads = 1;
  Size size{};
  int64_t steps = 1, pictures = 1;
  int64_t batch_size = 0;  // 0: the worker chooses
  double guidance_scale = 1;
};

// Makes the pictures in `folder`/run and writes `folder`/trace.json.
std::vector<std::string> worker_arguments(const BenchRequest& request, const WorkerTask& task,
                                          const fs::path& folder);

// The milestones of a worker, on trace_clock(). Throws EnvironmentError if its trace lacks one.
struct WorkerTimes {
  double load_begin = 0, load_end = 0;
  double work_begin = 0;     // of the first stage after loading
  double first_written = 0;  // the first picture is a file
  double last_written = 0;
};

WorkerTimes worker_times(const std::vector<TraceSpan>& spans);

}  // namespace backlot
