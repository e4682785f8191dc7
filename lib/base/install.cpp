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

std::optional<fs::path> own_library(const fs::path& name) {
  std::error_code error;
  const fs::path here = fs::read_symlink("/proc/self/exe", error).parent_path();
  for (const auto& folder : {here / "lib", here / ".." / "lib", here})
    if (const fs::path file = folder / name; fs::exists(file, error))
      return file.lexically_normal();
  return std::nullopt;
}

}  // namespace backlot
