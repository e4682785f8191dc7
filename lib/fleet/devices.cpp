#include "fleet/devices.h"

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "base/machine.h"
#include "fleet/device_monitor.h"
#include "fleet/nvml.h"

namespace backlot {

Device processor_device() {
  Device cpu{.name = "cpu",
             .model = processor_model(),
             .memory_bytes = memory_limit_bytes(),
             .free_bytes = memory_available_bytes(),
             .processors = usable_processors(),
             .temperature_c = processor_temperature()};
  if (double load = 0; ::getloadavg(&load, 1) == 1) cpu.load = load;
  return cpu;
}

std::vector<Device> list_devices() {
  std::vector<Device> devices{processor_device()};
  for (auto& gpu : Nvml().devices()) devices.push_back(std::move(gpu));
  return devices;
}

std::string choose_device(const std::string& wish) {
  if (wish != "auto") return wish;
  return Nvml().devices().empty() ? "cpu" : "cuda:0";
}

std::string cpu_features() {
  std::ifstream file("/proc/cpuinfo");
  std::string found;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("flags")) continue;
    std::istringstream words(line);
    for (std::string word; words >> word;)
      for (const char* known :
           {"avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"})
        if (word == known) found += (found.empty() ? "" : " ") + word;
    break;
  }
  return found;
}

}  // namespace backlot
