#include "device_option.h"

#include <fmt/format.h>

#include "base/error.h"
#include "fleet/devices.h"

namespace backlot {

void check_device_name(const std::string& wish, const std::string& option) {
  const bool numbered = wish.starts_with("cuda:") && wish.size() > 5 &&
                        wish.find_first_not_of("0123456789", 5) == std::string::npos;
  if (wish != "auto" && wish != "cpu" && wish != "cuda" && !numbered)
    throw UsageError(option, fmt::format("'{}' is no device", wish),
                     "give cpu, cuda, cuda:N or auto");
}

void check_device(const std::string& wish, const std::string& option) {
  const std::string device = wish == "cuda" ? "cuda:0" : wish;
  if (device == "auto") return;
  std::string known;
  for (const auto& each : list_devices()) {
    if (each.name == device) return;
    known += (known.empty() ? "" : ", ") + each.name;
  }
  throw EnvironmentError(option + " " + wish,
                         fmt::format("not on this machine, which has {}", known),
                         "choose one of those; 'backlot health' says more");
}

}  // namespace backlot
