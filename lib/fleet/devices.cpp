#include "fleet/devices.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <fstream>
#include <sstream>

#include "base/machine.h"

namespace backlot {
namespace {

// The few NVML calls needed, by their published C signatures (nvml.h), so that no CUDA toolkit is
// needed to build and no driver to run.
class Nvml {
 public:
  Nvml() : library_(::dlopen("libnvidia-ml.so.1", RTLD_LAZY | RTLD_LOCAL)) {
    ready_ = library_ && function<int()>("nvmlInit_v2") && function<int()>("nvmlInit_v2")() == 0;
  }
  ~Nvml() {
    if (ready_) function<int()>("nvmlShutdown")();
    if (library_) ::dlclose(library_);
  }
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

  std::vector<Device> devices() const {
    std::vector<Device> out;
    unsigned count = 0;
    if (!ready_ || function<int(unsigned*)>("nvmlDeviceGetCount_v2")(&count) != 0) return out;
    for (unsigned i = 0; i < count; ++i) out.push_back(device(i));
    return out;
  }

 private:
  struct Memory {
    unsigned long long total, free, used;
  };

  Device device(unsigned index) const {
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
    return out;
  }

  std::string driver() const {
    char version[96] = "";
    function<int(char*, unsigned)>("nvmlSystemGetDriverVersion")(version, sizeof version);
    return version;
  }

  template <class Signature>
  Signature* function(const char* name) const {
    return reinterpret_cast<Signature*>(::dlsym(library_, name));
  }

  void* library_;
  bool ready_ = false;
};

}  // namespace

std::vector<Device> list_devices() {
  std::vector<Device> devices{Device{.name = "cpu",
                                     .model = processor_model(),
                                     .memory_bytes = memory_limit_bytes(),
                                     .free_bytes = memory_available_bytes(),
                                     .processors = usable_processors()}};
  for (auto& gpu : Nvml().devices()) devices.push_back(std::move(gpu));
  return devices;
}

std::string choose_device(const std::string& wish) {
  if (wish != "auto") return wish;
  return Nvml().devices().empty() ? "cpu" : "cuda:0";
}

std::string resolved_dtype(const std::string& wish, const std::string& device) {
  if (wish != "auto") return wish;
  return device != "cpu" || processor_has_bfloat16() ? "bfloat16" : "float32";
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
