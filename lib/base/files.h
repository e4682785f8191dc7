// Files: read with a limit, mapped, written so that a crash leaves the old or the new, never half.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace backlot {

namespace fs = std::filesystem;

// The whole file. Throws EnvironmentError if it can't be read or is larger than `max_bytes`.
std::string read_file(const fs::path& path, uint64_t max_bytes = uint64_t{1} << 30);

// Writes to a hidden temporary name beside `path`, flushes it to disk, renames, flushes the folder.
// After a return the file is there for good; after a throw or a kill `path` is what it was.
// Throws EnvironmentError (naming path and reason: disk full, read-only, …).
void write_file_durably(const fs::path& path, std::string_view bytes);

// True for the temporary names that write_file_durably leaves behind when it is killed.
bool is_temporary_name(const fs::path& path);

// Creates the folder and its parents. Throws EnvironmentError.
void make_folders(const fs::path& path);

// Flushes a folder's entries (after a rename or an unlink in it).
void sync_folder(const fs::path& path);

// An EnvironmentError for a failed system call on `path`, with a mend that fits `errno_value`
// (disk full, permission, read-only file system, …).
[[noreturn]] void throw_errno(const fs::path& path, std::string_view doing, int errno_value);

// A file mapped read-only. Movable; unmapped when destroyed.
class MappedFile {
 public:
  // Throws LoadError if the file can't be opened or mapped. An empty file gives an empty span.
  explicit MappedFile(const fs::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace backlot
