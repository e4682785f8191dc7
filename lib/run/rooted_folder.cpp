#include "run/rooted_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <memory>
#include <set>

#include "base/error.h"
#include "run/in_parallel.h"

namespace backlot {
namespace {

constexpr size_t buffer_bytes = size_t{1} << 20;

// Repeats a system call that a signal interrupted.
template <typename Call>
auto retry(Call call) {
  while (true) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

// The parts of a relative path. Throws for one that could lead out of the root.
std::vector<std::string> parts_of(const fs::path& root, const fs::path& relative) {
  std::vector<std::string> parts;
  for (const auto& part : relative) {
    if (part == "." || part.empty()) continue;
    if (part == ".." || part.is_absolute())
      throw EnvironmentError((root / relative).string(), "leads out of the run folder",
                             "name outputs relative to the run folder, without '..'");
    parts.push_back(part.string());
  }
  return parts;
}

bool is_link(int folder, const std::string& name) {
  struct stat facts {};
  return ::fstatat(folder, name.c_str(), &facts, AT_SYMLINK_NOFOLLOW) == 0 &&
         S_ISLNK(facts.st_mode);
}

[[noreturn]] void refuse_link(const fs::path& path) {
  throw EnvironmentError(path.string(),
                         "is a symbolic link; backlot writes only inside its run folder",
                         "put a real file or folder in its place");
}

std::string temporary_name(const std::string& tag) {
  static std::atomic<uint64_t> counter = 0;
  return fmt::format(".backlot-tmp-{}{}-{}", tag, ::getpid(), counter++);
}

}  // namespace

UniqueFd::~UniqueFd() {
  if (fd_ >= 0) ::close(fd_);
}

void write_fully(int fd, std::string_view bytes, const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t n = retry([&] { return ::write(fd, bytes.data(), bytes.size()); });
    if (n < 0) throw_errno(path, "write", errno);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

void flush_to_disk(int fd, const fs::path& path, Flush what) {
  const int result =
      retry([&] { return what == Flush::data_only ? ::fdatasync(fd) : ::fsync(fd); });
  if (result == 0 || errno == EINVAL || errno == ENOTSUP || errno == ENOSYS) return;
  throw_errno(path, "flush", errno);
}

RootedFolder::RootedFolder(fs::path path, std::string temporary_tag)
    : path_(std::move(path)),
      temporary_tag_(std::move(temporary_tag)),
      fd_(retry([&] { return ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); })) {
  if (!fd_) throw_errno(path_, "open the folder", errno);
}

UniqueFd RootedFolder::open_folder(const fs::path& relative, Missing missing) const {
  UniqueFd folder(retry([&] { return ::fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0); }));
  if (!folder) throw_errno(path_, "open the folder", errno);
  fs::path so_far = path_;
  for (const auto& part : parts_of(path_, relative)) {
    so_far /= part;
    const auto enter = [&] {
      return UniqueFd(retry([&] {
        return ::openat(folder.get(), part.c_str(),
                        O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      }));
    };
    UniqueFd next = enter();
    if (!next && errno == ENOENT) {
      if (missing == Missing::tolerate) return {};
      if (retry([&] { return ::mkdirat(folder.get(), part.c_str(), 0777); }) != 0 &&
          errno != EEXIST)
        throw_errno(so_far, "create the folder", errno);
      flush_to_disk(folder.get(), so_far.parent_path());
      next = enter();
    }
    if (!next) {
      const int error = errno;
      if (is_link(folder.get(), part)) refuse_link(so_far);
      throw_errno(so_far, "open the folder", error);
    }
    folder = std::move(next);
  }
  return folder;
}

UniqueFd RootedFolder::open_parent(const fs::path& relative, Missing missing) const {
  if (relative.empty() || !relative.has_filename())
    throw EnvironmentError((path_ / relative).string(), "is no file name", "name a file");
  return open_folder(relative.parent_path(), missing);
}

void RootedFolder::make_folder(const fs::path& relative) const {
  open_folder(relative, Missing::create);
}

UniqueFd RootedFolder::open_file(const fs::path& relative, int flags, mode_t mode) const {
  parts_of(path_, relative);
  const bool create = flags & O_CREAT;
  const UniqueFd folder = open_parent(relative, create ? Missing::create : Missing::tolerate);
  if (!folder) return {};
  const std::string name = relative.filename().string();
  UniqueFd file(retry(
      [&] { return ::openat(folder.get(), name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC, mode); }));
  if (file || (!create && errno == ENOENT)) return file;
  if (errno == ELOOP) refuse_link(path_ / relative);
  throw_errno(path_ / relative, "open", errno);
}

std::optional<std::string> RootedFolder::read(const fs::path& relative, uint64_t max_bytes) const {
  const UniqueFd file = open_file(relative, O_RDONLY | O_NONBLOCK);
  if (!file) return std::nullopt;
  std::string out;
  const auto buffer = std::make_unique<char[]>(buffer_bytes);
  while (true) {
    const ssize_t n = retry([&] { return ::read(file.get(), buffer.get(), buffer_bytes); });
    if (n < 0) throw_errno(path_ / relative, "read", errno);
    if (n == 0) return out;
    out.append(buffer.get(), static_cast<size_t>(n));
    if (out.size() > max_bytes)
      throw EnvironmentError((path_ / relative).string(),
                             fmt::format("larger than {} bytes", max_bytes), "give a smaller file");
  }
}

std::optional<uint64_t> RootedFolder::file_size(const fs::path& relative) const {
  const UniqueFd folder = open_parent(relative, Missing::tolerate);
  struct stat facts {};
  if (!folder ||
      ::fstatat(folder.get(), relative.filename().c_str(), &facts, AT_SYMLINK_NOFOLLOW) != 0 ||
      !S_ISREG(facts.st_mode))
    return std::nullopt;
  return static_cast<uint64_t>(facts.st_size);
}

bool RootedFolder::is_folder(const fs::path& relative) const {
  const UniqueFd folder = open_parent(relative, Missing::tolerate);
  struct stat facts {};
  return folder &&
         ::fstatat(folder.get(), relative.filename().c_str(), &facts, AT_SYMLINK_NOFOLLOW) == 0 &&
         S_ISDIR(facts.st_mode);
}

std::optional<int64_t> RootedFolder::modified(const fs::path& relative) const {
  const UniqueFd folder = open_parent(relative, Missing::tolerate);
  struct stat facts {};
  if (!folder ||
      ::fstatat(folder.get(), relative.filename().c_str(), &facts, AT_SYMLINK_NOFOLLOW) != 0)
    return std::nullopt;
  return int64_t{facts.st_mtim.tv_sec} * 1'000'000'000 + facts.st_mtim.tv_nsec;
}

void RootedFolder::write_durably(const fs::path& relative, std::string_view bytes) const {
  DurableWriter writer(*this, relative);
  writer.write(bytes);
  writer.commit();
}

bool RootedFolder::link(const UniqueFd& file, const fs::path& relative) const {
  const UniqueFd folder = open_parent(relative, Missing::create);
  const std::string name = relative.filename().string();
  const std::string temporary = temporary_name(temporary_tag_);
  // By descriptor: what was looked at through it is what gets the name.
  const std::string opened = fmt::format("/proc/self/fd/{}", file.get());
  if (retry([&] {
        return ::linkat(AT_FDCWD, opened.c_str(), folder.get(), temporary.c_str(),
                        AT_SYMLINK_FOLLOW);
      }) != 0)
    return false;
  try {
    flush_to_disk(file.get(), path_ / relative);
    if (retry([&] {
          return ::renameat(folder.get(), temporary.c_str(), folder.get(), name.c_str());
        }) != 0)
      throw_errno(path_ / relative, "rename to", errno);
  } catch (const Error&) {
    ::unlinkat(folder.get(), temporary.c_str(), 0);
    throw;
  }
  // Where both names were the same file already, rename(2) leaves both.
  ::unlinkat(folder.get(), temporary.c_str(), 0);
  return true;
}

void RootedFolder::rename(const fs::path& from, const fs::path& to) const {
  const UniqueFd source = open_parent(from, Missing::create);
  const UniqueFd target = open_parent(to, Missing::create);
  if (retry([&] {
        return ::renameat(source.get(), from.filename().c_str(), target.get(),
                          to.filename().c_str());
      }) != 0)
    throw_errno(path_ / to, "rename to", errno);
}

bool RootedFolder::rename_if_there(const fs::path& from, const fs::path& to) const {
  const UniqueFd source = open_parent(from, Missing::tolerate);
  const UniqueFd target = open_parent(to, Missing::tolerate);
  if (!source || !target) return false;
  const int result = retry([&] {
    return ::renameat(source.get(), from.filename().c_str(), target.get(), to.filename().c_str());
  });
  if (result != 0 && errno != ENOENT) throw_errno(path_ / to, "rename to", errno);
  return result == 0;
}

void RootedFolder::remove(const fs::path& relative) const {
  const UniqueFd folder = open_parent(relative, Missing::tolerate);
  if (!folder) return;
  const auto unlink = [&](int flags) {
    return retry([&] { return ::unlinkat(folder.get(), relative.filename().c_str(), flags); });
  };
  if (unlink(0) == 0 || errno == ENOENT) return;
  if (errno == EISDIR && (unlink(AT_REMOVEDIR) == 0 || errno == ENOTEMPTY || errno == EEXIST))
    return;
  throw_errno(path_ / relative, "remove", errno);
}

std::vector<std::string> RootedFolder::list(const fs::path& relative) const {
  UniqueFd folder = open_folder(relative, Missing::tolerate);
  if (!folder) return {};
  // A descriptor duplicated from the root's shares its read position; "." opened anew does not.
  const int fresh = ::openat(folder.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(fresh < 0 ? nullptr : ::fdopendir(fresh),
                                                   ::closedir);
  if (!stream) throw_errno(path_ / relative, "list the folder", errno);
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<RootedFolder::FileFacts> RootedFolder::list_files(const fs::path& relative) const {
  const UniqueFd folder = open_folder(relative, Missing::tolerate);
  std::vector<FileFacts> files;
  for (auto& name : list(relative)) {
    struct stat facts {};
    if (!folder || ::fstatat(folder.get(), name.c_str(), &facts, AT_SYMLINK_NOFOLLOW) != 0)
      continue;
    FileFacts file;
    file.name = std::move(name);
    file.regular = S_ISREG(facts.st_mode);
    file.bytes = static_cast<uint64_t>(facts.st_size);
    file.modified = facts.st_mtim;
    file.inode = facts.st_ino;
    files.push_back(std::move(file));
  }
  return files;
}

bool RootedFolder::takes_files(const fs::path& relative) const try {
  const UniqueFd folder = open_folder(relative, Missing::tolerate);
  return !folder || ::faccessat(folder.get(), ".", W_OK | X_OK, 0) == 0;
} catch (const EnvironmentError&) {
  return false;
}

void RootedFolder::sync(const fs::path& relative) const {
  const UniqueFd folder = open_folder(relative, Missing::tolerate);
  if (folder) flush_to_disk(folder.get(), path_ / relative);
}

DurableWriter::DurableWriter(const RootedFolder& root, const fs::path& relative)
    : full_path_(root.path() / relative),
      name_(relative.filename().string()),
      folder_(root.open_parent(relative, RootedFolder::Missing::create)) {
  struct stat facts {};
  if (::fstatat(folder_.get(), name_.c_str(), &facts, AT_SYMLINK_NOFOLLOW) == 0 &&
      S_ISDIR(facts.st_mode))
    throw_errno(full_path_, "write", EISDIR);
  do {
    temporary_ = temporary_name(root.temporary_tag_);
    file_ = UniqueFd(retry([&] {
      return ::openat(folder_.get(), temporary_.c_str(),
                      O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    }));
  } while (!file_ && errno == EEXIST);
  if (!file_) throw_errno(full_path_, "write", errno);
}

DurableWriter::~DurableWriter() {
  if (!temporary_.empty()) ::unlinkat(folder_.get(), temporary_.c_str(), 0);
}

void DurableWriter::write(std::string_view bytes) {
  if (buffer_.size() + bytes.size() > buffer_bytes) {
    write_fully(file_.get(), buffer_, full_path_);
    buffer_.clear();
    if (bytes.size() > buffer_bytes) return write_fully(file_.get(), bytes, full_path_);
  }
  buffer_ += bytes;
}

void DurableWriter::commit() {
  flush();
  place();
  flush_to_disk(folder_.get(), full_path_.parent_path());
}

void DurableWriter::flush() {
  write_fully(file_.get(), buffer_, full_path_);
  buffer_.clear();
  flush_to_disk(file_.get(), full_path_);
  // EINTR from close(2) on Linux means closed: a second close could hit another thread's file.
  if (::close(file_.release()) != 0 && errno != EINTR) throw_errno(full_path_, "write", errno);
}

void DurableWriter::place() {
  if (retry([&] {
        return ::renameat(folder_.get(), temporary_.c_str(), folder_.get(), name_.c_str());
      }) != 0)
    throw_errno(full_path_, "rename to", errno);
  temporary_.clear();
}

void write_all_durably(const RootedFolder& root, std::span<const NewFile> files) {
  // Threads that wait for a disk: it takes many flushes at once for not much more than one.
  constexpr size_t flushing_threads = 16;
  std::vector<std::unique_ptr<DurableWriter>> writers(files.size());
  in_parallel(files.size(), [&](size_t i) {
    writers[i] = std::make_unique<DurableWriter>(root, files[i].path);
    writers[i]->write(files[i].bytes);
  });
  in_parallel(
      files.size(), [&](size_t i) { writers[i]->flush(); }, flushing_threads);
  std::set<fs::path> folders;
  for (size_t i = 0; i < files.size(); ++i) {
    writers[i]->place();
    folders.insert(files[i].path.parent_path());
  }
  for (const auto& folder : folders) root.sync(folder);
}

}  // namespace backlot
