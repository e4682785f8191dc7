#include "base/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace backlot {
namespace {

constexpr std::string_view temporary_prefix = ".backlot-tmp-";

// Closes a descriptor at the end of a scope.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

void write_all(int fd, std::string_view bytes, const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_errno(path, "write", errno);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

// Some network file systems can't flush; that is no reason to refuse to work on them.
bool flush_unsupported(int errno_value) {
  return errno_value == EINVAL || errno_value == ENOTSUP || errno_value == ENOSYS;
}

void flush(int fd, const fs::path& path) {
  while (::fsync(fd) != 0) {
    if (errno == EINTR) continue;
    if (flush_unsupported(errno)) return;
    throw_errno(path, "flush", errno);
  }
}

std::string_view mend_for(int errno_value) {
  switch (errno_value) {
    case ENOSPC:
    case EDQUOT:
      return "free some space and run the same command again";
    case EACCES:
    case EPERM:
      return "check its permissions, or choose another folder with --output";
    case EROFS:
      return "the file system is read-only; choose another folder with --output";
    case ENOENT:
      return "check the path";
    case ENOTDIR:
      return "a part of the path is a file, not a folder";
    case EISDIR:
      return "it is a folder; name a file";
    case EMFILE:
    case ENFILE:
      return "raise the limit of open files (ulimit -n)";
    case ENAMETOOLONG:
      return "use a shorter name";
    case EIO:
      return "the disk or the network behind it is failing; check it, then run again";
    default:
      return "mend that and run the same command again";
  }
}

}  // namespace

void throw_errno(const fs::path& path, std::string_view doing, int errno_value) {
  throw EnvironmentError(path.string(),
                         fmt::format("cannot {}: {}", doing, std::strerror(errno_value)),
                         std::string(mend_for(errno_value)));
}

std::string read_file(const fs::path& path, uint64_t max_bytes) {
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) throw_errno(path, "open", errno);
  std::string out;
  char buffer[1 << 16];
  while (true) {
    const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_errno(path, "read", errno);
    if (n == 0) return out;
    out.append(buffer, static_cast<size_t>(n));
    if (out.size() > max_bytes)
      throw EnvironmentError(path.string(), fmt::format("larger than {} bytes", max_bytes),
                             "give a smaller file");
  }
}

void write_file_durably(const fs::path& path, std::string_view bytes) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  std::string temporary = (folder / fmt::format("{}XXXXXX", temporary_prefix)).string();
  Descriptor fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (fd.get() < 0) throw_errno(path, "write", errno);
  try {
    // mkostemp makes files for the owner alone; outputs are made as any other program makes them.
    const mode_t mask = ::umask(0);
    ::umask(mask);
    ::fchmod(fd.get(), 0666 & ~mask);
    write_all(fd.get(), bytes, path);
    flush(fd.get(), path);
    if (::close(fd.release()) != 0) throw_errno(path, "write", errno);
    if (::rename(temporary.c_str(), path.c_str()) != 0) throw_errno(path, "rename to", errno);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  sync_folder(folder);
}

bool is_temporary_name(const fs::path& path) {
  return path.filename().string().starts_with(temporary_prefix);
}

void make_folders(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) throw_errno(path, "create the folder", error.value());
  if (!fs::is_directory(path)) throw_errno(path, "create the folder", ENOTDIR);
}

void sync_folder(const fs::path& path) {
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0) throw_errno(path, "open the folder", errno);
  flush(fd.get(), path);
}

MappedFile::MappedFile(const fs::path& path) : path_(path) {
  const auto fail = [&](int errno_value) {
    throw LoadError(path.string(), fmt::format("cannot open: {}", std::strerror(errno_value)),
                    std::string(mend_for(errno_value)));
  };
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) fail(errno);
  struct stat facts {};
  if (::fstat(fd.get(), &facts) != 0) fail(errno);
  if (!S_ISREG(facts.st_mode)) fail(S_ISDIR(facts.st_mode) ? EISDIR : EINVAL);
  size_ = static_cast<size_t>(facts.st_size);
  if (size_ == 0) return;
  void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (mapped == MAP_FAILED) fail(errno);
  data_ = static_cast<const std::byte*>(mapped);
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace backlot
