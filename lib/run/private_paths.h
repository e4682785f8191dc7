// Error texts name files; what is written down must not name people's folders.
#pragma once

#include <string>
#include <vector>

#include "base/files.h"

namespace backlot {

class PrivatePaths {
 public:
  // The run folder goes without a trace, the home folder becomes "~".
  explicit PrivatePaths(const fs::path& run_folder);

  void add(const fs::path& folder);  // goes without a trace

  std::string removed_from(std::string text) const;

 private:
  std::vector<std::string> prefixes_;
  std::string home_;
};

}  // namespace backlot
