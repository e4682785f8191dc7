#include "support/faults.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace backlot::faults {
namespace {

bool armed = false;
thread_local bool inside = false;  // the bookkeeping's own calls don't count
std::recursive_mutex mutex;        // guards the bookkeeping
Kind kind = Kind::count;
int64_t fatal_call = 0;

// Shared by a forked child and its parent, so mapped before any fork.
int64_t* const counter = static_cast<int64_t*>(
    ::mmap(nullptr, sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));

// What a power cut would take: bytes written but not flushed, renames whose folder was not.
struct DirtyFile {
  int fd;  // a duplicate, as the original may be closed by then
  off_t flushed = 0;
};
struct UnflushedRename {
  int folder;
  std::string from, to;
};
std::map<ino_t, DirtyFile> dirty;
std::map<ino_t, std::vector<UnflushedRename>> renames;  // by folder

struct stat facts_of(int fd) {
  struct stat facts {};
  ::fstat(fd, &facts);
  return facts;
}

void note_write(int fd) {
  const struct stat facts = facts_of(fd);
  if (S_ISREG(facts.st_mode) && !dirty.contains(facts.st_ino))
    dirty[facts.st_ino] = {::fcntl(fd, F_DUPFD_CLOEXEC, 100), facts.st_size};
}

void note_flush(int fd) {
  const struct stat facts = facts_of(fd);
  renames.erase(facts.st_ino);
  if (const auto found = dirty.find(facts.st_ino); found != dirty.end())
    found->second.flushed = facts.st_size;
}

void note_rename(int folder, const char* from, const char* to) {
  struct stat facts {};
  // Of a replaced file both the old and the new content are legal after a power cut.
  if (::fstatat(folder, to, &facts, AT_SYMLINK_NOFOLLOW) == 0) return;
  renames[facts_of(folder).st_ino].push_back({::fcntl(folder, F_DUPFD_CLOEXEC, 100), from, to});
}

void lose_power() {
  for (const auto& [inode, file] : dirty) ::syscall(SYS_ftruncate, file.fd, file.flushed);
  for (auto& [inode, list] : renames)
    for (auto r = list.rbegin(); r != list.rend(); ++r)
      ::syscall(SYS_renameat2, r->folder, r->to.c_str(), r->folder, r->from.c_str(), 0);
}

enum class Call { write, other };
enum class Signals { can_interrupt, can_not };

// 0: go on; an errno: fail with it; -1: write one byte.
int strike(Call call, Signals signals) {
  if (!armed || inside) return 0;
  const std::lock_guard lock(mutex);
  const int64_t now = ++*counter;
  if (now < fatal_call) return 0;
  if (now > fatal_call && kind != Kind::no_space) return 0;
  switch (kind) {
    case Kind::count:
      return 0;
    case Kind::power_loss:
      inside = true;
      lose_power();
      [[fallthrough]];
    case Kind::kill:
      ::syscall(SYS_exit_group, killed_status);
      return 0;
    case Kind::no_space:
      return ENOSPC;
    case Kind::io_error:
      return EIO;
    case Kind::interrupted:
      return signals == Signals::can_interrupt ? EINTR : 0;
    case Kind::short_write:
      return call == Call::write ? -1 : 0;
  }
  return 0;
}

template <typename Note>
void note(Note what) {
  if (!armed || inside || kind != Kind::power_loss) return;
  const std::lock_guard lock(mutex);
  inside = true;
  what();
  inside = false;
}

}  // namespace

void arm(Kind what, int64_t at) {
  *counter = 0;
  kind = what;
  fatal_call = at;
  armed = true;
}

int64_t calls() { return *counter; }

}  // namespace backlot::faults

using namespace backlot::faults;

#define FAIL_IF_STRUCK(call, signals)                                  \
  if (const int error = strike(Call::call, Signals::signals); error) { \
    errno = error;                                                     \
    return -1;                                                         \
  }

extern "C" {

ssize_t write(int fd, const void* bytes, size_t size) {
  const int error = strike(Call::write, Signals::can_interrupt);
  if (error > 0) {
    errno = error;
    return -1;
  }
  note([&] { note_write(fd); });
  return ::syscall(SYS_write, fd, bytes, error < 0 && size > 1 ? 1 : size);
}

int fsync(int fd) {
  FAIL_IF_STRUCK(other, can_interrupt)
  note([&] { note_flush(fd); });
  return 0;  // nothing here can cut the machine's power: the flush itself would only take time
}

int fdatasync(int fd) {
  FAIL_IF_STRUCK(other, can_interrupt)
  note([&] { note_flush(fd); });
  return 0;
}

int ftruncate(int fd, off_t size) noexcept {
  FAIL_IF_STRUCK(other, can_interrupt)
  return static_cast<int>(::syscall(SYS_ftruncate, fd, size));
}

int renameat(int from_folder, const char* from, int to_folder, const char* to) noexcept {
  FAIL_IF_STRUCK(other, can_not)
  note([&] { note_rename(to_folder, from, to); });
  return static_cast<int>(::syscall(SYS_renameat2, from_folder, from, to_folder, to, 0));
}

int mkdirat(int folder, const char* name, mode_t mode) noexcept {
  FAIL_IF_STRUCK(other, can_not)
  return static_cast<int>(::syscall(SYS_mkdirat, folder, name, mode));
}

int unlinkat(int folder, const char* name, int flags) noexcept {
  FAIL_IF_STRUCK(other, can_not)
  return static_cast<int>(::syscall(SYS_unlinkat, folder, name, flags));
}

int openat(int folder, const char* name, int flags, ...) {
  if (flags & O_CREAT) FAIL_IF_STRUCK(other, can_interrupt)
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return static_cast<int>(::syscall(SYS_openat, folder, name, flags, mode));
}

int close(int fd) {
  const int mode = ::fcntl(fd, F_GETFL);
  const bool writes = mode >= 0 && (mode & O_ACCMODE) != O_RDONLY;
  const int error = writes ? strike(Call::other, Signals::can_interrupt) : 0;
  const int result = static_cast<int>(::syscall(SYS_close, fd));
  if (error <= 0) return result;
  errno = error;
  return -1;
}

}  // extern "C"
