#include "pipelines/memory_meter.h"

#include <ATen/DeviceAccelerator.h>
#include <malloc.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

#include "pipelines/memory_pool.h"

namespace backlot {
namespace {

// Of /proc/self/status, in bytes; 0 if it is not there.
uint64_t own_status(std::string_view key) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(key)) return std::strtoull(line.c_str() + key.size(), nullptr, 10) * 1024;
  return 0;
}

c10::CachingAllocator::Stat of_all_pools(const c10::CachingAllocator::StatArray& stats) {
  return stats[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)];
}

uint64_t bytes(int64_t value) { return value > 0 ? static_cast<uint64_t>(value) : 0; }

}  // namespace

uint64_t MemoryMeter::held() const {
  if (device_.is_cpu()) return own_status("VmRSS:");
  return bytes(
      of_all_pools(at::accelerator::getDeviceStats(device_.index()).reserved_bytes).current);
}

uint64_t MemoryMeter::peak() const {
  if (device_.is_cpu()) return own_status("VmHWM:");
  return bytes(of_all_pools(at::accelerator::getDeviceStats(device_.index()).reserved_bytes).peak);
}

uint64_t MemoryMeter::peak_allocated() const {
  if (device_.is_cpu()) return peak();
  return bytes(of_all_pools(at::accelerator::getDeviceStats(device_.index()).allocated_bytes).peak);
}

void MemoryMeter::reset_peak() {
  // Where the file is not writable the peak is that of the process's whole life.
  if (device_.is_cpu()) {
    std::ofstream("/proc/self/clear_refs") << "5";
  } else {
    at::accelerator::resetPeakStats(device_.index());
  }
}

uint64_t MemoryMeter::idle() const { return device_.is_cpu() ? idle_pool_bytes() : 0; }

void MemoryMeter::drop_idle() {
  if (device_.is_cpu()) {
    drop_idle_pool();
    ::malloc_trim(0);
  } else {
    at::accelerator::emptyCache();
  }
}

}  // namespace backlot
