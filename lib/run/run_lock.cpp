#include "run/run_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "base/text.h"

namespace backlot {

RunLock::RunLock(const RootedFolder& root) : fd_(root.open_file("journal/lock", O_RDWR | O_CREAT)) {
  int result;
  do result = ::flock(fd_.get(), LOCK_EX | LOCK_NB);
  while (result != 0 && errno == EINTR);
  if (result != 0 && errno == EWOULDBLOCK) {
    const std::string owner(trim(root.read("journal/lock", 64).value_or("")));
    throw EnvironmentError(root.path().string(),
                           fmt::format("another backlot works on this run{}",
                                       owner.empty() ? "" : fmt::format(" (pid {})", owner)),
                           "wait for it to end, or choose another folder with --output");
  }
  if (result != 0) throw_errno(root.path() / "journal/lock", "lock", errno);
  // The number only serves the message above: a failure to write it is no reason to stop.
  const std::string pid = fmt::format("{}\n", ::getpid());
  if (::ftruncate(fd_.get(), 0) == 0 && ::pwrite(fd_.get(), pid.data(), pid.size(), 0) < 0) return;
}

}  // namespace backlot
