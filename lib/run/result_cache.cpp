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
constexpr const char* entries_folder = "entries";

// A process looks at the whole folder again after it has put this share of the limit, or so many
// entries: that bounds both what looking costs and how far several processes get beyond the limit.
constexpr uint64_t looks_per_limit = 16;
constexpr int64_t puts_between_looks = 1024;

// When the limit is passed, so much of it is left filled: room is made for many puts at once.
constexpr double filled_after_trim = 0.9;

// A temporary file this old (seconds) is no one's any more.
constexpr double abandoned_after = 3600;

bool is_key(std::string_view name) {
  return name.size() == 64 && name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

fs::path entry_path(std::string_view key) {
  return fs::path(entries_folder) / key.substr(0, 2) / key;
}

double age(const timespec& then) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<double>(now.tv_sec - then.tv_sec) +
         static_cast<double>(now.tv_nsec - then.tv_nsec) * 1e-9;
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
    return name == marker_file || name == lock_file || name == entries_folder ||
           is_temporary_name(name);
  };
  if (root.file_size(marker_file)) return;
  const auto names = root.list("");
  if (std::ranges::all_of(names, ours)) return;
  throw EnvironmentError(root.path().string(), "is not empty and no cache",
                         "name another folder, or a new one");
}

fs::path made(const fs::path& folder) {
  make_folders(folder);
  return fs::absolute(folder).lexically_normal();
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

struct ResultCache::Entry {
  fs::path path;
  uint64_t bytes = 0;
  timespec used{};
  ino_t inode = 0;
  bool temporary = false;
};

ResultCache::ResultCache(const fs::path& folder, CacheLimits limits, std::string version, Warn warn)
    : root_(made(folder)), limits_(limits), version_(std::move(version)), warn_(std::move(warn)) {
  refuse_foreign_folder(root_);
  check_marker(root_);
  if (root_.file_size(marker_file)) return;
  try {
    root_.make_folder(entries_folder);
    root_.write_durably(marker_file, Json{{"version", format_version}}.dump() + "\n");
  } catch (const EnvironmentError& error) {
    give_up(writable_, "written to", error);
  }
}

void ResultCache::give_up(std::atomic<bool>& usable, std::string_view doing,
                          const std::exception& error) {
  if (!usable.exchange(false)) return;
  warn_(fmt::format("the cache can't be {} any more, the run goes on without: {}", doing,
                    error.what()));
}

std::optional<CachedOutput> ResultCache::get(std::string_view key) {
  if (!readable_) return std::nullopt;
  try {
    return read(key);
  } catch (const EnvironmentError& error) {
    give_up(readable_, "read", error);
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
  if (limits_.max_age && age(facts.st_mtim) > *limits_.max_age) {
    discard(entry);
    return std::nullopt;
  }
  auto output = decode_entry(read_whole(file.get(), root_.path() / path), key);
  if (output) {
    mark_as_used(file.get());
    return output;
  }
  warn_(fmt::format("{}: the cached output is damaged; it is removed and made again",
                    (root_.path() / path).string()));
  discard(entry);
  return std::nullopt;
}

void ResultCache::discard(const Entry& entry) {
  try {
    remove_unchanged(entry);
  } catch (const EnvironmentError& error) {
    give_up(writable_, "written to", error);
  }
}

void ResultCache::put(std::string_view key, const CachedOutput& output) {
  if (!writable_) return;
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
  for (const auto& entry : found) {
    const bool outlived = entry.temporary ? age(entry.used) > abandoned_after
                                          : limits_.max_age && age(entry.used) > *limits_.max_age;
    const bool superfluous = !entry.temporary && bytes > keep;
    if ((outlived || superfluous) && remove_unchanged(entry)) bytes -= entry.bytes;
  }
  bytes_found_ = bytes;
  bytes_put_ = 0;
  puts_ = 0;
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

std::vector<ResultCache::Entry> ResultCache::entries() const {
  std::vector<Entry> found;
  for (const auto& folder : root_.list(entries_folder)) {
    if (folder.size() != 2) continue;
    const fs::path inside = fs::path(entries_folder) / folder;
    for (const auto& file : root_.list_files(inside)) {
      const bool temporary = is_temporary_name(file.name);
      if (!temporary && !is_key(file.name)) continue;
      Entry entry;
      entry.path = inside / file.name;
      entry.bytes = file.bytes;
      entry.used = file.modified;
      entry.inode = file.inode;
      entry.temporary = temporary;
      found.push_back(std::move(entry));
    }
  }
  return found;
}

CacheStats ResultCache::stats() const {
  CacheStats stats;
  for (const auto& entry : entries()) {
    stats.bytes += entry.bytes;
    if (entry.temporary) continue;
    ++stats.entries;
    const int64_t used = entry.used.tv_sec;
    stats.oldest_use = std::min(stats.oldest_use.value_or(used), used);
    stats.newest_use = std::max(stats.newest_use.value_or(used), used);
  }
  return stats;
}

std::vector<std::string> ResultCache::remove_damaged() {
  const auto found = entries();
  std::vector<std::string> damaged;
  std::mutex collecting;
  in_parallel(found.size(), [&](size_t i) {
    const Entry& entry = found[i];
    if (entry.temporary) return;
    // One that is gone by now was evicted.
    const UniqueFd file = root_.open_file(entry.path, O_RDONLY | O_NONBLOCK);
    if (!file) return;
    const auto bytes = read_whole(file.get(), root_.path() / entry.path);
    if (decode_entry(bytes, entry.path.filename().string()) || !remove_unchanged(entry)) return;
    const std::lock_guard lock(collecting);
    damaged.push_back(entry.path.string());
  });
  std::ranges::sort(damaged);
  return damaged;
}

CacheStats ResultCache::clear() {
  CacheStats removed;
  for (const auto& entry : entries()) {
    // Others' half-written files are left to them, or to the next trim.
    if (entry.temporary && age(entry.used) < abandoned_after) continue;
    root_.remove(entry.path);
    removed.bytes += entry.bytes;
    removed.entries += entry.temporary ? 0 : 1;
  }
  return removed;
}

}  // namespace backlot
