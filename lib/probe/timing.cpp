#include "probe/timing.h"

#include <ATen/DeviceAccelerator.h>

#include <algorithm>
#include <cmath>

#include "base/time.h"

namespace backlot {

void finish_work(at::Device device) {
  if (!device.is_cpu()) at::accelerator::synchronizeDevice(device.index());
}

std::vector<double> time_calls(std::span<const Call> calls, at::Device device, int repeats,
                               double least_seconds, const std::function<void()>& go_on) {
  size_t turn = 0;
  // A device is only waited for at the end, so that it is never idle between calls.
  const auto seconds_of = [&](int64_t count) {
    finish_work(device);
    const Stopwatch watch;
    for (int64_t i = 0; i < count; ++i) calls[turn++ % calls.size()]();
    finish_work(device);
    return watch.seconds();
  };
  go_on();
  double once = seconds_of(1);
  // The first call also chooses kernels and allocates: long ones alone can do without a second.
  if (once < least_seconds) once = std::min(once, seconds_of(1));
  const auto at_a_time =
      static_cast<int64_t>(std::clamp(std::ceil(least_seconds / std::max(once, 1e-9)), 1.0, 1e6));
  std::vector<double> seconds;
  for (int i = 0; i < repeats; ++i) {
    go_on();
    double passed = 0;
    int64_t made = 0;
    do {
      passed += seconds_of(at_a_time);
      made += at_a_time;
    } while (passed < least_seconds);
    seconds.push_back(passed / static_cast<double>(made));
  }
  return seconds;
}

}  // namespace backlot
