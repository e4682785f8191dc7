#include "media/temporary_output.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <utility>

#include "base/files.h"

namespace backlot {
namespace {

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

// Others may read outputs, as those of any other program.
mode_t mode_for(mode_t all) {
  const mode_t mask = ::umask(0);
  ::umask(mask);
  return all & ~mask;
}

void flush_file(const fs::path& path, const fs::path& shown) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw_errno(shown, "open", errno);
  const int result = ::fsync(fd);
  const int error = errno;
  ::close(fd);
  // Some network file systems can't flush.
  if (result != 0 && error != EINVAL && error != ENOTSUP && error != ENOSYS)
    throw_errno(shown, "flush", error);
}

}  // namespace

TemporaryOutput::TemporaryOutput(fs::path final_path, const std::string& tag, Kind kind)
    : final_path_(std::move(final_path)), kind_(kind) {
  std::string name = (folder_of(final_path_) / fmt::format(".backlot-tmp-{}XXXXXX", tag)).string();
  if (kind == Kind::folder) {
    if (!::mkdtemp(name.data())) throw_errno(final_path_, "write", errno);
    ::chmod(name.c_str(), mode_for(0777));
  } else {
    const int fd = ::mkostemp(name.data(), O_CLOEXEC);
    if (fd < 0) throw_errno(final_path_, "write", errno);
    ::fchmod(fd, mode_for(0666));
    ::close(fd);
  }
  path_ = name;
}

TemporaryOutput::~TemporaryOutput() { remove(); }

TemporaryOutput::TemporaryOutput(TemporaryOutput&& other) noexcept
    : final_path_(std::move(other.final_path_)),
      path_(std::exchange(other.path_, {})),
      kind_(other.kind_) {}

TemporaryOutput& TemporaryOutput::operator=(TemporaryOutput&& other) noexcept {
  std::swap(final_path_, other.final_path_);
  std::swap(path_, other.path_);
  std::swap(kind_, other.kind_);
  return *this;
}

void TemporaryOutput::remove() noexcept {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
  path_.clear();
}

void TemporaryOutput::flush() const {
  if (kind_ == Kind::folder) {
    for (const auto& entry : fs::directory_iterator(path_)) flush_file(entry.path(), final_path_);
    sync_folder(path_);
  } else {
    flush_file(path_, final_path_);
  }
}

// A folder that holds something can't be renamed over: the two change names, and the old one goes.
void TemporaryOutput::replace_folder() {
  if (::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, final_path_.c_str(), RENAME_EXCHANGE) == 0)
    return;
  if (errno != EINVAL && errno != ENOSYS && errno != ENOTSUP)
    throw_errno(final_path_, "rename to", errno);
  // Not on every file system. For a moment the name is free, so a kill then loses the old one.
  TemporaryOutput old(final_path_, "", Kind::folder);
  if (::rename(final_path_.c_str(), old.path().c_str()) != 0 ||
      ::rename(path_.c_str(), final_path_.c_str()) != 0)
    throw_errno(final_path_, "rename to", errno);
  path_.clear();
}

void TemporaryOutput::place() {
  std::error_code ignored;
  if (::rename(path_.c_str(), final_path_.c_str()) == 0)
    path_.clear();
  else if (kind_ == Kind::folder && (errno == ENOTEMPTY || errno == EEXIST))
    replace_folder();
  else
    throw_errno(final_path_, "rename to", errno);
  sync_folder(folder_of(final_path_));
  remove();  // what had the name before, where the two changed names
}

void write_undurably(const fs::path& path, std::string_view bytes, const fs::path& shown) {
  errno = 0;
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) throw_errno(shown, "write", errno ? errno : EIO);
}

}  // namespace backlot
