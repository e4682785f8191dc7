#include "run/space_guard.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <mutex>
#include <string>

#include "base/error.h"
#include "base/text.h"
#include "run/output_files.h"

namespace backlot {
namespace {

constexpr const char* note_file = "journal/used-bytes";
constexpr uint64_t most_kept_free = uint64_t{512} << 20;

// flock belongs to the open file, which threads share; so they take turns before it.
std::mutex in_this_process;

// The note, held against every other process.
class HeldNote {
 public:
  HeldNote(int fd, const fs::path& path) : turn_(in_this_process), fd_(fd), path_(path) {
    while (::flock(fd_, LOCK_EX) != 0) {
      if (errno == EINTR) continue;
      // File systems without locks: the count is then a good guess.
      if (errno == ENOLCK || errno == ENOTSUP || errno == ENOSYS || errno == EINVAL) break;
      throw_errno(path_, "lock", errno);
    }
  }
  ~HeldNote() { ::flock(fd_, LOCK_UN); }
  HeldNote(const HeldNote&) = delete;
  HeldNote& operator=(const HeldNote&) = delete;

  uint64_t bytes() const {
    char text[32];
    const ssize_t n = ::pread(fd_, text, sizeof text, 0);
    if (n < 0) throw_errno(path_, "read", errno);
    uint64_t bytes = 0;
    std::from_chars(text, text + n, bytes);
    return bytes;
  }
  // Always as long, so that nothing of an earlier number stays behind. It is not flushed: the next
  // run counts anew.
  void set(uint64_t bytes) const {
    const std::string text = fmt::format("{:<20}\n", bytes);
    if (::pwrite(fd_, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()))
      throw_errno(path_, "write", errno);
  }

 private:
  std::lock_guard<std::mutex> turn_;
  int fd_;
  fs::path path_;
};

// Everything below the folders of outputs, half-written files of others included.
uint64_t bytes_of_outputs(const fs::path& folder) {
  uint64_t bytes = 0;
  std::error_code gone;
  for (const char* kind : {"images", "videos", "meshes", "texts"})
    for (fs::recursive_directory_iterator it(folder / kind, gone), end; it != end;
         it.increment(gone)) {
      if (gone) break;
      std::error_code vanished;
      if (!it->is_regular_file(vanished) || it->is_symlink(vanished)) continue;
      const auto size = it->file_size(vanished);
      if (!vanished) bytes += size;
    }
  return bytes;
}

}  // namespace

SpaceGuard::SpaceGuard(const RootedFolder& root, SpaceLimits limits)
    : root_(root),
      limits_(limits),
      note_(limits.quota ? root.open_file(note_file, O_RDWR | O_CREAT) : UniqueFd()) {}

void SpaceGuard::count_anew() const {
  if (!limits_.quota) return;
  const HeldNote note(note_.get(), root_.path() / note_file);
  note.set(bytes_of_outputs(root_.path()));
}

void SpaceGuard::take(const fs::path& output, uint64_t bytes) const {
  check_disk(output, bytes);
  if (!limits_.quota) return;
  const uint64_t replaced = output_bytes(root_, output).value_or(0);
  const HeldNote note(note_.get(), root_.path() / note_file);
  const uint64_t used = note.bytes();
  const uint64_t after = used + bytes - std::min(used, replaced);
  if (after > *limits_.quota)
    throw EnvironmentError(
        root_.path().string(),
        fmt::format("the run's quota of {} ({} bytes) is used up: its outputs take {} bytes, and "
                    "the next one {}",
                    human_bytes(*limits_.quota), *limits_.quota, used, bytes),
        "run the same command again with a larger --quota (or output.quota)");
  note.set(after);
}

void SpaceGuard::check_disk(const fs::path& output, uint64_t bytes) const {
  struct statvfs disk {};
  if (::statvfs(root_.path().c_str(), &disk) != 0) return;
  const uint64_t free = uint64_t{disk.f_bavail} * disk.f_frsize;
  const uint64_t whole = uint64_t{disk.f_blocks} * disk.f_frsize;
  // File systems that say nothing of their size (some network mounts) are written to until they
  // refuse.
  if (whole == 0) return;
  const uint64_t keep = limits_.min_free.value_or(std::min(most_kept_free, whole / 100));
  if (free >= bytes && free - bytes >= keep) return;
  throw EnvironmentError(
      (root_.path() / output).string(),
      fmt::format("No space left on device but a reserve: {} are free, {} are to stay so, and "
                  "the next output takes {}",
                  human_bytes(free), human_bytes(keep), human_bytes(bytes)),
      "free some space and run the same command again (or allow less with --min-free)");
}

}  // namespace backlot
