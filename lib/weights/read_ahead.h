// Asks the system for files before anyone reads them, so that the disk works while tensors are
// converted. Mapped files are otherwise read in small pieces, each when somebody waits for it.
#pragma once

#include <filesystem>
#include <thread>
#include <vector>

namespace backlot {

class ReadAhead {
 public:
  // In this order; files that cannot be opened are left to whoever reads them.
  explicit ReadAhead(std::vector<std::filesystem::path> files);

 private:
  std::jthread thread_;  // ends with this object, whether or not it is done
};

}  // namespace backlot
