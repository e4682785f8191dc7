#include "run/proof.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "base/sha256.h"
#include "run/output_files.h"

namespace backlot {

std::optional<std::string> hash_of(const UniqueFd& file) {
  Sha256 hash;
  const size_t size = size_t{1} << 18;
  const auto buffer = std::make_unique<std::byte[]>(size);
  for (off_t at = 0;;) {
    const ssize_t n = ::pread(file.get(), buffer.get(), size, at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return std::nullopt;
    if (n == 0) return hash.hex();
    hash.update(std::span<const std::byte>(buffer.get(), static_cast<size_t>(n)));
    at += n;
  }
}

Proof prove(const RootedFolder& root, const fs::path& relative, const OutputFile& file) {
  const auto size = output_bytes(root, relative);
  if (!size) return Proof::missing;
  if (*size != file.bytes) return Proof::damaged;
  return output_hash(root, relative) == file.sha256 ? Proof::good : Proof::damaged;
}

}  // namespace backlot
