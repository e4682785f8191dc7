// How devices and processes fare, read again and again while a fleet works.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/files.h"
#include "fleet/devices.h"

namespace backlot {

class Nvml;

// Keeps the driver's library open, so that a reading takes a millisecond or so.
class DeviceMonitor {
 public:
  DeviceMonitor();
  ~DeviceMonitor();
  DeviceMonitor(const DeviceMonitor&) = delete;
  DeviceMonitor& operator=(const DeviceMonitor&) = delete;

  // As list_devices(), and from the second reading on with the CPU's utilisation since the last.
  const std::vector<Device>& read();

  // Of the last reading; null for a device that is not there. "cuda" is cuda:0.
  const Device* find(const std::string& name) const;

 private:
  std::unique_ptr<Nvml> nvml_;
  std::vector<Device> devices_;
  uint64_t busy_ = 0, all_ = 0;  // processor time of the machine, in ticks
};

// The hottest of the CPU's own sensors, below a folder laid out as /sys/class.
std::optional<double> processor_temperature(const fs::path& sys_class = "/sys/class");

// Host memory of a process now and at most, in bytes; zeros if it is gone.
struct ProcessMemory {
  uint64_t resident_bytes = 0, peak_bytes = 0;
};
ProcessMemory process_memory(pid_t pid);

}  // namespace backlot
