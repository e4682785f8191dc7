#include "fleet/nvml.h"

#include <dlfcn.h>
#include <fmt/format.h>

namespace backlot {
namespace {

struct Memory {
  unsigned long long total, free, used;
};

struct Utilization {
  unsigned gpu, memory;  // percent of the last sampling period
};

constexpr int of_the_gpu = 0;  // NVML_TEMPERATURE_GPU

}  // namespace

Nvml::Nvml() : library_(::dlopen("libnvidia-ml.so.1", RTLD_LAZY | RTLD_LOCAL)) {
  const auto init = library_ ? function<int()>("nvmlInit_v2") : nullptr;
  ready_ = init && init() == 0;
}

Nvml::~Nvml() {
  if (ready_) function<int()>("nvmlShutdown")();
  if (library_) ::dlclose(library_);
}

template <class Signature>
Signature* Nvml::function(const char* name) const {
  return reinterpret_cast<Signature*>(::dlsym(library_, name));
}

std::vector<Device> Nvml::devices() const {
  std::vector<Device> out;
  unsigned count = 0;
  if (!ready_ || function<int(unsigned*)>("nvmlDeviceGetCount_v2")(&count) != 0) return out;
  for (unsigned i = 0; i < count; ++i) out.push_back(device(i));
  return out;
}

Device Nvml::device(unsigned index) const {
  Device out{.name = fmt::format("cuda:{}", index), .driver = driver()};
  void* handle = nullptr;
  if (function<int(unsigned, void**)>("nvmlDeviceGetHandleByIndex_v2")(index, &handle) != 0)
    return out;
  char name[96] = "";
  function<int(void*, char*, unsigned)>("nvmlDeviceGetName")(handle, name, sizeof name);
  out.model = name;
  Memory memory{};
  if (function<int(void*, Memory*)>("nvmlDeviceGetMemoryInfo")(handle, &memory) == 0) {
    out.memory_bytes = memory.total;
    out.free_bytes = memory.free;
  }
  unsigned celsius = 0;
  const auto temperature = function<int(void*, int, unsigned*)>("nvmlDeviceGetTemperature");
  if (temperature && temperature(handle, of_the_gpu, &celsius) == 0) out.temperature_c = celsius;
  Utilization busy{};
  const auto utilization = function<int(void*, Utilization*)>("nvmlDeviceGetUtilizationRates");
  if (utilization && utilization(handle, &busy) == 0) out.utilisation = busy.gpu / 100.0;
  return out;
}

std::string Nvml::driver() const {
  char version[96] = "";
  function<int(char*, unsigned)>("nvmlSystemGetDriverVersion")(version, sizeof version);
  return version;
}

}  // namespace backlot
