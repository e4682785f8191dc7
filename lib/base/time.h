// Time stamps and stopwatches.
#pragma once

#include <chrono>
#include <string>

namespace backlot {

// Now as ISO 8601 in UTC with milliseconds: 2026-01-31T23:59:59.123Z. Free of locale and time zone.
std::string utc_now();

// Seconds since construction, on the monotonic clock.
class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  // Seconds since construction or the last lap.
  double lap() {
    const double passed = seconds();
    start_ = std::chrono::steady_clock::now();
    return passed;
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace backlot
