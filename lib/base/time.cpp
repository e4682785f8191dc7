#include "base/time.h"

#include <fmt/format.h>
#include <sys/time.h>

#include <ctime>

namespace backlot {

std::string utc_now() {
  timeval now{};
  ::gettimeofday(&now, nullptr);
  std::tm parts{};
  ::gmtime_r(&now.tv_sec, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", parts.tm_year + 1900,
                     parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                     now.tv_usec / 1000);
}

}  // namespace backlot
