// The course of work on an accelerator, which the host is ahead of. On the CPU host and device are
// one, and nothing here waits.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>

#include <chrono>
#include <deque>
#include <optional>

namespace backlot {

// A moment in the device's work: when all that was asked of it so far is done.
class DeviceMark {
 public:
  explicit DeviceMark(at::Device device);

  // Waits until it has passed: at once, keeping a processor busy, or a little late, but leaving the
  // processor to others. From any thread.
  void wait() const;
  void sleep() const;

  // Both have passed.
  double seconds_since(const DeviceMark& earlier) const;

 private:
  std::chrono::steady_clock::time_point host_ = std::chrono::steady_clock::now();
  std::optional<c10::Event> event_;
};

// Keeps the host ahead of the device, so that the device never waits, but by a few steps only: so
// progress is true, and stopping takes no longer than those.
class Pace {
 public:
  explicit Pace(at::Device device) : device_(device) {}

  // After each step was asked for.
  void step();

 private:
  at::Device device_;
  std::deque<DeviceMark> ahead_;
};

// A copy of `host` on the device, for which the host does not wait; on the CPU `host` itself.
at::Tensor upload(const at::Tensor& host, at::Device device);

}  // namespace backlot
