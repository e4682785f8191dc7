// Devices as `backlot health` sees them: without LibTorch, in milliseconds.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace backlot {

struct Device {
  std::string name;  // "cpu", "cuda:0"
  std::string model;
  uint64_t memory_bytes = 0, free_bytes = 0;
  std::string driver;  // of a GPU
  int processors = 0;  // of the CPU: those this process may use
  // What the machine does not say is absent.
  std::optional<double> temperature_c;
  std::optional<double> utilisation;  // 0 to 1
  std::optional<double> load;         // of the CPU: processes that want it, mean over a minute
};

// The CPU alone.
Device processor_device();

// The CPU, then every NVIDIA GPU that NVML reports (none where there is no driver).
std::vector<Device> list_devices();

// `auto` becomes cuda where a GPU answers, else cpu; anything else stays as it is.
std::string choose_device(const std::string& wish);

// Instruction sets of the CPU that decide speed, e.g. "avx512_bf16 amx_bf16".
std::string cpu_features();

}  // namespace backlot
