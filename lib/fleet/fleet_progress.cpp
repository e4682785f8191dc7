#include "fleet/fleet_progress.h"

#include <algorithm>

namespace backlot {

std::string_view worker_state_name(WorkerState state) {
  switch (state) {
    case WorkerState::starting:
      return "starting";
    case WorkerState::idle:
      return "idle";
    case WorkerState::loading:
      return "loading";
    case WorkerState::working:
      return "working";
    case WorkerState::ended:
      return "ended";
    case WorkerState::set_aside:
      return "set aside";
  }
  return "";
}

void note_reading(WorkerView& worker, const Device& device) {
  worker.device_memory_bytes = device.memory_bytes;
  worker.device_free_bytes = device.free_bytes;
  if (device.memory_bytes >= device.free_bytes)
    worker.peak_device_bytes =
        std::max(worker.peak_device_bytes.value_or(0), device.memory_bytes - device.free_bytes);
  worker.temperature_c = device.temperature_c;
  worker.utilisation = device.utilisation;
}

}  // namespace backlot
