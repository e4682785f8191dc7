// How long a worker may be silent before it is taken for hung.
#pragma once

#include <algorithm>
#include <map>
#include <string>

namespace backlot {

// Learns from the silences that ended: the same stage of like items takes about as long again.
class HangWatch {
 public:
  // `unknown_seconds`: for what was never seen to end.
  explicit HangWatch(double unknown_seconds) : unknown_seconds_(unknown_seconds) {}

  // A silence that a sign of life ended. `doing`: the stage, the items' batch key and the device.
  void heard(const std::string& doing, double silent_seconds) {
    double& longest = longest_[doing];
    longest = std::max(longest, silent_seconds);
  }

  // After so much silence it is hung.
  double deadline(const std::string& doing) const {
    const auto seen = longest_.find(doing);
    if (seen == longest_.end()) return unknown_seconds_;
    return std::min(std::max(least_seconds, margin * seen->second), unknown_seconds_);
  }

  // A busy machine, a slow disk or a throttled GPU may stretch a silence that much.
  static constexpr double margin = 20, least_seconds = 10;

 private:
  double unknown_seconds_;
  std::map<std::string, double> longest_;
};

}  // namespace backlot
