#include "base/machine.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>
#include <string_view>

#include "base/text.h"

namespace backlot {
namespace {

constexpr uint64_t unlimited = std::numeric_limits<uint64_t>::max();

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// This process's folder in the unified (v2) hierarchy, "" under v1 or without cgroups.
std::string cgroup_folder() {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("0::")) return "/sys/fs/cgroup" + line.substr(3);
  return "";
}

// The least of a limit along the way up from this process's cgroup, as every parent binds too.
template <class Read>
auto least_above(Read read) {
  std::string folder = cgroup_folder();
  auto least = read(folder.empty() ? "/sys/fs/cgroup" : folder);
  while (folder.size() > std::string_view("/sys/fs/cgroup").size()) {
    folder.erase(folder.rfind('/'));
    least = std::min(least, read(folder));
  }
  return least;
}

double quota_of(const std::string& folder) {
  std::istringstream line(first_line(folder + "/cpu.max"));
  std::string quota;
  double period = 0;
  if (!(line >> quota >> period) || quota == "max" || period <= 0)
    return std::numeric_limits<double>::infinity();
  return std::strtod(quota.c_str(), nullptr) / period;
}

uint64_t number_in(const std::string& path) {
  const std::string line = first_line(path);
  if (line.empty() || line == "max") return unlimited;
  return std::strtoull(line.c_str(), nullptr, 10);
}

uint64_t meminfo(std::string_view key) {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(key)) return std::strtoull(line.c_str() + key.size(), nullptr, 10) * 1024;
  return 0;
}

}  // namespace

int usable_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  int count = ::sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  const double quota = processor_quota();
  if (quota < count) count = static_cast<int>(std::ceil(quota));
  return std::max(count, 1);
}

double processor_quota() { return least_above(quota_of); }

uint64_t memory_limit_bytes() {
  const uint64_t limit = least_above([](const std::string& folder) {
    return std::min(number_in(folder + "/memory.max"),
                    number_in(folder + "/memory.limit_in_bytes"));
  });
  return std::min(limit, meminfo("MemTotal:"));
}

uint64_t memory_available_bytes() {
  const uint64_t left = least_above([](const std::string& folder) {
    const uint64_t limit = number_in(folder + "/memory.max");
    const uint64_t used = number_in(folder + "/memory.current");
    if (limit == unlimited || used == unlimited) return unlimited;
    return limit > used ? limit - used : 0;
  });
  return std::min(left, meminfo("MemAvailable:"));
}

std::string processor_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name"))
      return std::string(trim(std::string_view(line).substr(line.find(':') + 1)));
  return "";
}

bool processor_has_bfloat16() { return __builtin_cpu_supports("avx512bf16"); }

}  // namespace backlot
