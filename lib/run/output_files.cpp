#include "run/output_files.h"

#include <fcntl.h>
#include <fmt/format.h>

#include "base/sha256.h"
#include "run/proof.h"

namespace backlot {

std::optional<uint64_t> output_bytes(const RootedFolder& root, const fs::path& output) {
  if (const auto size = root.file_size(output)) return size;
  if (!root.is_folder(output)) return std::nullopt;
  uint64_t bytes = 0;
  for (const auto& file : root.list_files(output)) {
    if (!file.regular) return std::nullopt;
    bytes += file.bytes;
  }
  return bytes;
}

std::optional<std::string> output_hash(const RootedFolder& root, const fs::path& output) {
  const auto of_file = [&](const fs::path& file) {
    const UniqueFd opened = root.open_file(file, O_RDONLY | O_NONBLOCK);
    return opened ? hash_of(opened) : std::nullopt;
  };
  if (!root.is_folder(output)) return of_file(output);
  std::string listing;
  for (const auto& name : root.list(output)) {
    const auto hash = of_file(output / name);
    if (!hash) return std::nullopt;
    listing += fmt::format("{}  {}\n", *hash, name);
  }
  return sha256_hex(listing);
}

void remove_output(const RootedFolder& root, const fs::path& output) {
  if (root.is_folder(output))
    for (const auto& name : root.list(output)) root.remove(output / name);
  root.remove(output);
}

}  // namespace backlot
