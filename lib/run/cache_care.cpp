// Looking after a result cache as a whole: what it holds, whether that is sound, emptying it.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "run/cache_entry.h"
#include "run/in_parallel.h"
#include "run/result_cache.h"

namespace backlot {
namespace {

// A temporary file this old (seconds) is no one's any more.
constexpr double abandoned_after = 3600;

bool is_key(std::string_view name) {
  return name.size() == 64 && name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

double ResultCache::Entry::seconds_unused() const {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<double>(now.tv_sec - used.tv_sec) +
         static_cast<double>(now.tv_nsec - used.tv_nsec) * 1e-9;
}

bool ResultCache::Entry::abandoned() const {
  return temporary && seconds_unused() > abandoned_after;
}

std::vector<ResultCache::Entry> ResultCache::entries(std::vector<fs::path>* odd) const {
  std::vector<Entry> found;
  for (const auto& folder : root_.list(cache_entries_folder)) {
    if (folder.size() != 2) continue;
    const fs::path inside = fs::path(cache_entries_folder) / folder;
    std::vector<RootedFolder::FileFacts> files;
    try {
      files = root_.list_files(inside);
    } catch (const EnvironmentError&) {
      if (odd) odd->push_back(inside);
      continue;
    }
    for (const auto& file : files) {
      const bool temporary = is_temporary_name(file.name);
      if (!temporary && !is_key(file.name)) continue;
      if (!file.regular) {
        if (odd && !temporary) odd->push_back(inside / file.name);
        continue;
      }
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

CacheCheck ResultCache::remove_damaged() {
  std::vector<fs::path> odd;
  const auto found = entries(&odd);
  CacheCheck check;
  std::mutex collecting;
  const auto note = [&](const fs::path& path, bool removed) {
    const std::lock_guard lock(collecting);
    (removed ? check.removed : check.stuck).push_back(path.string());
  };
  for (const auto& path : odd) note(path, clear_place(path));
  in_parallel(found.size(), [&](size_t i) {
    const Entry& entry = found[i];
    if (entry.temporary) return;
    try {
      // One that is gone by now was evicted.
      const UniqueFd file = root_.open_file(entry.path, O_RDONLY | O_NONBLOCK);
      if (!file) return;
      const auto bytes = read_whole(file.get(), root_.path() / entry.path);
      if (decode_entry(bytes, entry.path.filename().string())) {
        const std::lock_guard lock(collecting);
        ++check.sound;
        return;
      }
      if (remove_unchanged(entry)) note(entry.path, true);
    } catch (const EnvironmentError&) {
      note(entry.path, clear_place(entry.path));
    }
  });
  std::ranges::sort(check.removed);
  std::ranges::sort(check.stuck);
  return check;
}

CacheClearing ResultCache::clear() {
  std::vector<fs::path> odd;
  CacheClearing clearing;
  for (const auto& entry : entries(&odd)) {
    // Others' half-written files are left to them, or to the next trim.
    if (entry.temporary && !entry.abandoned()) continue;
    if (!clear_place(entry.path)) {
      clearing.stuck.push_back(entry.path.string());
      continue;
    }
    clearing.removed.bytes += entry.bytes;
    clearing.removed.entries += entry.temporary ? 0 : 1;
  }
  for (const auto& path : odd)
    if (!clear_place(path)) clearing.stuck.push_back(path.string());
  std::ranges::sort(clearing.stuck);
  return clearing;
}

}  // namespace backlot
