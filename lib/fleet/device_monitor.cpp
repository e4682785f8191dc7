#include "fleet/device_monitor.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>
#include <string_view>

#include "fleet/nvml.h"

namespace backlot {
namespace {

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Drivers of sensors in processors: Intel, AMD, and what Arm boards have.
bool is_processor_sensor(std::string_view name) {
  constexpr std::array known = {"coretemp",    "k10temp",      "zenpower",   "cpu_thermal",
                                "cpu-thermal", "x86_pkg_temp", "soc_thermal"};
  return std::ranges::find(known, name) != known.end();
}

// In thousandths of a degree, as the kernel writes them; nothing for a sensor that is asleep.
void note_hottest(std::optional<double>& hottest, const fs::path& file) {
  const std::string line = first_line(file);
  char* end = nullptr;
  const double celsius = std::strtod(line.c_str(), &end) / 1000;
  if (end == line.c_str() || celsius <= 0) return;
  hottest = std::max(hottest.value_or(celsius), celsius);
}

// The processor time of "cpu  user nice system idle iowait irq softirq steal …": busy and all.
std::pair<uint64_t, uint64_t> processor_time() {
  std::istringstream line(first_line("/proc/stat"));
  std::string cpu;
  line >> cpu;
  uint64_t all = 0, idle = 0, ticks = 0;
  for (int field = 0; field < 8 && line >> ticks; ++field) {
    all += ticks;
    if (field == 3 || field == 4) idle += ticks;
  }
  return {all - idle, all};
}

}  // namespace

DeviceMonitor::DeviceMonitor() : nvml_(std::make_unique<Nvml>()) {}
DeviceMonitor::~DeviceMonitor() = default;

const std::vector<Device>& DeviceMonitor::read() {
  devices_ = {processor_device()};
  const auto [busy, all] = processor_time();
  if (all_ > 0 && all > all_)
    devices_[0].utilisation = static_cast<double>(busy - busy_) / static_cast<double>(all - all_);
  busy_ = busy;
  all_ = all;
  for (auto& gpu : nvml_->devices()) devices_.push_back(std::move(gpu));
  return devices_;
}

const Device* DeviceMonitor::find(const std::string& name) const {
  const auto found = std::ranges::find(devices_, name == "cuda" ? "cuda:0" : name, &Device::name);
  return found == devices_.end() ? nullptr : &*found;
}

std::optional<double> processor_temperature(const fs::path& sys_class) {
  std::optional<double> hottest;
  std::error_code absent;
  for (const auto& chip : fs::directory_iterator(sys_class / "hwmon", absent)) {
    if (!is_processor_sensor(first_line(chip.path() / "name"))) continue;
    for (const auto& file : fs::directory_iterator(chip.path(), absent)) {
      const std::string name = file.path().filename().string();
      if (name.starts_with("temp") && name.ends_with("_input")) note_hottest(hottest, file.path());
    }
  }
  if (hottest) return hottest;
  for (const auto& zone : fs::directory_iterator(sys_class / "thermal", absent))
    if (is_processor_sensor(first_line(zone.path() / "type")))
      note_hottest(hottest, zone.path() / "temp");
  return hottest;
}

ProcessMemory process_memory(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/status", pid));
  ProcessMemory memory;
  const auto number = [](const std::string& line) {
    return std::strtoull(line.c_str() + line.find(':') + 1, nullptr, 10) * 1024;
  };
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("VmRSS:")) memory.resident_bytes = number(line);
    if (line.starts_with("VmHWM:")) memory.peak_bytes = number(line);
  }
  return memory;
}

}  // namespace backlot
