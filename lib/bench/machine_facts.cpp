#include "bench/machine_facts.h"

#include <sys/utsname.h>

#include <cmath>
#include <cstdlib>

#include "base/machine.h"
#include "fleet/devices.h"

namespace backlot {

double load_average() {
  double minute = 0;
  return ::getloadavg(&minute, 1) == 1 ? minute : 0;
}

Json machine_facts(const std::string& backlot_version, const std::string& libtorch_version,
                   int threads) {
  utsname system{};
  ::uname(&system);
  const auto devices = list_devices();
  Json gpus = Json::array();
  std::string driver;
  for (size_t i = 1; i < devices.size(); ++i) {
    gpus.push_back({{"name", devices[i].model}, {"memory_bytes", devices[i].memory_bytes}});
    driver = devices[i].driver;
  }
  const double quota = processor_quota();
  return {{"backlot", backlot_version},
          {"libtorch", libtorch_version},
          {"system", std::string(system.sysname) + " " + system.release},
          {"cpu", devices.front().model},
          {"cpu_features", cpu_features()},
          {"processors", devices.front().processors},
          {"cpu_quota", std::isfinite(quota) ? Json(quota) : Json()},
          {"threads", threads},
          {"memory_bytes", devices.front().memory_bytes},
          {"memory_free_bytes", devices.front().free_bytes},
          {"gpus", gpus},
          {"driver", driver},
          {"load_average", load_average()}};
}

}  // namespace backlot
