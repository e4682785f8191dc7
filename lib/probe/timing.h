// Wall time of calls on any device.
#pragma once

#include <c10/core/Device.h>

#include <functional>
#include <span>
#include <vector>

#include "probe/kernel.h"

namespace backlot {

// Waits until the device has done what it was given.
void finish_work(at::Device device);

// Seconds of one call, `repeats` times: each the mean of as many calls as `least_seconds` take,
// after one that warms up. The calls take turns. `go_on` is called before each repeat.
std::vector<double> time_calls(std::span<const Call> calls, at::Device device, int repeats,
                               double least_seconds, const std::function<void()>& go_on);

}  // namespace backlot
