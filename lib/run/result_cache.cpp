#include "run/result_cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "base/error.h"
#include "base/sha256.h"
#include "base/text.h"
#include "run/cache_entry.h"
#include "run/in_parallel.h"

namespace backlot {
namespace {

constexpr int format_version = 1;
constexpr const char* marker_file = "backlot-cache.json";
constexpr const char* lock_file = "lock";

// A process looks at the whole folder again after it has put this share of the limit, or so many
// entries: that bounds both what looking costs and how far several processes get beyond the limit.
constexpr uint64_t looks_per_limit = 16;
constexpr int64_t puts_between_looks = 1024;

// When the limit is passed, so much of it is left filled: room is made for many puts at once.
constexpr double filled_after_trim = 0.9;

// So many entries that can't be read or replaced are warned of by name: with a whole cache of them
// nobody reads more.
constexpr int most_named = 8;

fs::path entry_path(std::string_view key) {
  return fs::path(cache_entries_folder) / key.substr(0, 2) / key;
}

// Explicitly now: what the kernel takes for it is only as fine as its tick. A folder that may only
// be read keeps its times, and that is no trouble.
void mark_as_used(int fd) {
  timespec times[2];
  ::clock_gettime(CLOCK_REALTIME, &times[0]);
  times[1] = times[0];
  // Whoever does not own the file may only set it to the kernel's now.
  if (::futimens(fd, times) != 0) ::futimens(fd, nullptr);
}

void check_marker(const RootedFolder& root) {
  const auto text = root.read(marker_file, 1 << 16);
  if (!text) return;
  const Json marker = Json::parse(*text, nullptr, false);
  const Json version = marker.is_object() ? marker.value("version", Json()) : Json();
  if (!version.is_number_integer())
    throw EnvironmentError((root.path() / marker_file).string(), "is damaged",
                           "remove that file if the folder is a cache, or name another folder");
  if (version.get<int64_t>() > format_version)
    throw EnvironmentError(root.path().string(), "is the cache of a newer backlot",
                           "use that one, or name another folder");
}

// Empty, a cache, or what a kill left of one before the marker was there.
void refuse_foreign_folder(const RootedFolder& root) {
  const auto ours = [](const std::string& name) {
    return name == marker_file || name == lock_file || name == cache_entries_folder ||
           is_temporary_name(name);
  };
  if (root.file_size(marker_file)) return;
  const auto names = root.list("");
  if (std::ranges::all_of(names, ours)) return;
  throw EnvironmentError(root.path().string(), "is not empty and no cache",
                         "name another folder, or a new one");
}

// What files in general advise is of run folders; a cache has an option of its own.
std::string mend_of(const EnvironmentError& error) {
  std::string mend = error.mend();
  const std::string_view option = "--output";
  if (const size_t at = mend.find(option); at != std::string::npos)
    mend.replace(at, option.size(), "--cache-dir DIR");
  return mend;
}

RootedFolder opened(const fs::path& folder) try {
  make_folders(folder);
  return RootedFolder(fs::absolute(folder).lexically_normal());
} catch (const EnvironmentError& error) {
  throw EnvironmentError(error.where(), error.problem(), mend_of(error));
}

}  // namespace

std::string cache_key(const Item& item, const OutputSettings& output, const MadeWith& how,
                      std::string_view version) {
  Json parts = {{"schema", 1},
                {"item", item.id},
                {"device", how.device},
                {"dtype", how.dtype},
                {"quantization", how.quantization},
                {"format", output.format},
                {"max_bytes", output.max_bytes ? Json(*output.max_bytes) : Json()},
                {"metadata", output.metadata},
                {"backlot", version}};
  if (output.format == "jpeg" || output.format == "webp") parts["quality"] = output.quality;
  if (item.output.starts_with("videos/")) {
    parts["quality"] = output.quality;
    parts["codec"] = output.codec;
    parts["crf"] = output.crf ? Json(*output.crf) : Json();
    parts["bit_depth"] = output.bit_depth;
  }
  // A picture's metadata say what its model is called, and nothing else does.
  if (output.metadata) parts["model"] = item.model.filename().string();
  // The id decides a text as it decides a picture: but for rounding, of which one word may hang.
  if (item.enhanced_prompt) parts["enhanced_prompt"] = *item.enhanced_prompt;
  return sha256_hex(canonical_json(parts));
}

bool is_cache(const fs::path& folder) {
  std::error_code unreadable;
  return fs::is_directory(folder, unreadable) &&
         RootedFolder(folder).file_size(marker_file).has_value();
}

ResultCache::ResultCache(const fs::path& folder, CacheLimits limits, std::string version, Warn warn)
    : root_(opened(folder)), limits_(limits), version_(std::move(version)), warn_(std::move(warn)) {
  refuse_foreign_folder(root_);
  check_marker(root_);
  if (root_.file_size(marker_file)) return;
  try {
    root_.make_folder(cache_entries_folder);
    root_.write_durably(marker_file, Json{{"version", format_version}}.dump() + "\n");
  } catch (const EnvironmentError& error) {
    give_up(writable_, "written to", error);
  }
}

void ResultCache::give_up(std::atomic<bool>& usable, std::string_view doing,
                          const EnvironmentError& error) {
  if (!usable.exchange(false)) return;
  warn_(fmt::format("the cache can't be {} any more, the run goes on without: {}: {}; {}", doing,
                    error.where(), error.problem(), mend_of(error)));
}

void ResultCache::warn_of_entry(const fs::path& path, std::string_view what) {
  const int named = named_++;
  if (named < most_named) warn_(fmt::format("{}: {}", (root_.path() / path).string(), what));
  if (named == most_named)
    warn_(
        fmt::format("{}: more cached outputs can't be read or replaced; 'backlot cache verify' "
                    "lists them, --cache-dir DIR takes another cache",
                    root_.path().string()));
}

// The cache as a whole: what goes wrong with an entry is then that entry's own trouble.
bool ResultCache::readable() const try {
  root_.list(cache_entries_folder);
  return root_.read(marker_file).has_value();
} catch (const EnvironmentError&) {
  return false;
}

// Removes whatever has an entry's place. False if it stays, or if nobody can tell.
bool ResultCache::clear_place(const fs::path& path) const try {
  root_.remove(path);
  return !root_.modified(path);
} catch (const EnvironmentError&) {
  return false;
}

// True if the cache takes files, but not in this place.
bool ResultCache::is_stuck(const fs::path& path) const {
  return root_.takes_files(cache_entries_folder) &&
         (!root_.takes_files(path.parent_path()) || !clear_place(path));
}

// It makes room for the output that is now made again. Where it can't, put() will say so.
void ResultCache::leave_unread(const fs::path& path, const EnvironmentError& error) {
  if (!readable()) return give_up(readable_, "read", error);
  if (clear_place(path))
    warn_of_entry(path, fmt::format("the cached output can't be read ({}); it is removed and made "
                                    "again",
                                    error.problem()));
}

std::optional<CachedOutput> ResultCache::get(std::string_view key) {
  if (!readable_) return std::nullopt;
  try {
    return read(key);
  } catch (const EnvironmentError& error) {
    leave_unread(entry_path(key), error);
    return std::nullopt;
  }
}

std::optional<CachedOutput> ResultCache::read(std::string_view key) {
  const fs::path path = entry_path(key);
  const UniqueFd file = root_.open_file(path, O_RDONLY | O_NONBLOCK);
  if (!file) return std::nullopt;
  struct stat facts {};
  if (::fstat(file.get(), &facts) != 0) throw_errno(root_.path() / path, "read", errno);
  Entry entry;
  entry.path = path;
  entry.used = facts.st_mtim;
  entry.inode = facts.st_ino;
  if (limits_.max_age && entry.seconds_unused() > *limits_.max_age) {
    discard(entry);
    return std::nullopt;
  }
  auto output = decode_entry(read_whole(file.get(), root_.path() / path), key);
  if (output) {
    mark_as_used(file.get());
    return output;
  }
  const bool removed = discard(entry);
  warn_(fmt::format("{}: the cached output is damaged; it is {}made again",
                    (root_.path() / path).string(), removed ? "removed and " : ""));
  return std::nullopt;
}

// Where it can't be, put() will say so.
bool ResultCache::discard(const Entry& entry) const try {
  return remove_unchanged(entry);
} catch (const EnvironmentError&) {
  return false;
}

void ResultCache::put(std::string_view key, const CachedOutput& output) {
  if (!writable_) return;
  try {
    write(key, output);
    return;
  } catch (const EnvironmentError& error) {
    if (is_stuck(entry_path(key)))
      return warn_of_entry(
          entry_path(key),
          fmt::format("can't be replaced ({}), so this output is not cached; remove it, or take "
                      "another cache with --cache-dir DIR",
                      error.problem()));
  }
  // The place was cleared, or the trouble is not the place's.
  try {
    write(key, output);
  } catch (const EnvironmentError& error) {
    give_up(writable_, "written to", error);
  }
}

void ResultCache::write(std::string_view key, const CachedOutput& output) {
  const std::string entry = encode_entry(key, output, version_);
  // It would push everything else out and then itself.
  if (limits_.max_bytes && entry.size() > *limits_.max_bytes) return;
  root_.write_durably(entry_path(key), entry);
  if (!limits_.max_bytes && !limits_.max_age) return;
  const std::lock_guard lock(mutex_);
  bytes_put_ += entry.size();
  ++puts_;
  const bool look = !bytes_found_ || puts_ >= puts_between_looks ||
                    (limits_.max_bytes && (*bytes_found_ + bytes_put_ > *limits_.max_bytes ||
                                           bytes_put_ > *limits_.max_bytes / looks_per_limit));
  if (look) trim_now();
}

void ResultCache::trim() {
  if (!writable_) return;
  try {
    const std::lock_guard lock(mutex_);
    trim_now();
  } catch (const EnvironmentError& error) {
    give_up(writable_, "written to", error);
  }
}

void ResultCache::hold_limits() {
  if (limits_.max_bytes || limits_.max_age) trim();
}

void ResultCache::trim_now() {
  const UniqueFd guard = root_.open_file(lock_file, O_RDWR | O_CREAT);
  int held;
  do held = ::flock(guard.get(), LOCK_EX | LOCK_NB);
  while (held != 0 && errno == EINTR);
  // On file systems without locks two may be at it: the worst is that a little too much goes.
  if (held != 0 && errno == EWOULDBLOCK) return;

  auto found = entries();
  std::ranges::sort(found, [](const Entry& a, const Entry& b) {
    return std::pair(a.used.tv_sec, a.used.tv_nsec) < std::pair(b.used.tv_sec, b.used.tv_nsec);
  });
  uint64_t bytes = 0;
  for (const auto& entry : found) bytes += entry.bytes;
  const bool over = limits_.max_bytes && bytes > *limits_.max_bytes;
  const auto keep =
      over ? static_cast<uint64_t>(filled_after_trim * static_cast<double>(*limits_.max_bytes))
           : UINT64_MAX;
  std::optional<EnvironmentError> stuck;
  for (const auto& entry : found) {
    const bool outlived = entry.temporary
                              ? entry.abandoned()
                              : limits_.max_age && entry.seconds_unused() > *limits_.max_age;
    const bool superfluous = !entry.temporary && bytes > keep;
    if (!outlived && !superfluous) continue;
    try {
      if (remove_unchanged(entry)) bytes -= entry.bytes;
    } catch (const EnvironmentError& error) {
      stuck = error;
    }
  }
  bytes_found_ = bytes;
  bytes_put_ = 0;
  puts_ = 0;
  // One that stays is made up for by others; a limit that can't be held is trouble.
  if (stuck && over && bytes > *limits_.max_bytes) throw EnvironmentError(*stuck);
}

// Removes the file only if it is still the one that was looked at and was not used since: between
// a look and an unlink another process may have put or used it. So it steps aside first, where only
// this process touches it, and comes back if it changed.
bool ResultCache::remove_unchanged(const Entry& entry) const {
  static std::atomic<uint64_t> counter = 0;
  const fs::path aside =
      entry.path.parent_path() / fmt::format(".backlot-tmp-out-{}-{}", ::getpid(), counter++);
  const auto changed = [&](const fs::path& path) {
    const UniqueFd file = root_.open_file(path, O_RDONLY | O_NONBLOCK);
    struct stat facts {};
    return !file || ::fstat(file.get(), &facts) != 0 || facts.st_ino != entry.inode ||
           facts.st_mtim.tv_sec != entry.used.tv_sec || facts.st_mtim.tv_nsec != entry.used.tv_nsec;
  };
  if (changed(entry.path)) return false;
  if (!root_.rename_if_there(entry.path, aside)) return false;
  if (changed(aside)) {
    // Should one have been put in its place meanwhile, it is as good.
    root_.rename_if_there(aside, entry.path);
    return false;
  }
  root_.remove(aside);
  return true;
}

}  // namespace backlot
