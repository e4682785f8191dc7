#include "base/install.h"

#include <array>

#include "base/files.h"

namespace backlot {

std::optional<fs::path> shipped_file(const fs::path& relative) {
  std::error_code error;
  const fs::path executable = fs::read_symlink("/proc/self/exe", error);
  const fs::path prefix = executable.parent_path().parent_path();
  const std::array candidates = {prefix / relative, prefix / "share/backlot" / relative,
                                 fs::path(BACKLOT_SOURCE_DIR) / relative};
  for (const auto& candidate : candidates)
    if (fs::exists(candidate, error)) return candidate;
  return std::nullopt;
}

}  // namespace backlot
