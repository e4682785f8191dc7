// What this process holds of a device's memory, and the most it held.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>

namespace backlot {

class MemoryMeter {
 public:
  explicit MemoryMeter(at::Device device) : device_(device) {}

  // Bytes: on the CPU the process's resident memory, on a GPU what the caching allocator has
  // reserved. 0 where the system doesn't say.
  uint64_t held() const;
  uint64_t peak() const;            // the most since reset_peak()
  uint64_t peak_allocated() const;  // of that, what tensors were in; on the CPU as peak()

  void reset_peak();

  // On the CPU what the allocator holds for reuse by tensors of about the same size; on a GPU,
  // where it divides blocks as it likes, 0.
  uint64_t idle() const;

  // Gives what allocators hold for reuse back, so that it is in no later peak.
  void drop_idle();

 private:
  at::Device device_;
};

}  // namespace backlot
