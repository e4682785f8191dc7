// A store of finished outputs, by what decides their bytes: what was made once need not be made
// again. docs/cache.md describes its folder.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <ctime>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "run/journal.h"
#include "run/rooted_folder.h"
#include "spec/item.h"

namespace backlot {

struct CacheLimits {
  std::optional<uint64_t> max_bytes;  // beyond it, what was not used for longest goes
  std::optional<double> max_age;      // seconds since an entry was last used
};

// How a device makes outputs; with the item and the output's settings it decides their bytes, but
// for rounding.
struct MadeWith {
  std::string device;  // the kind: "cpu", "cuda"
  std::string dtype;   // "float32", "bfloat16", "float16"; never "auto"
  std::string quantization = "none";
  bool operator==(const MadeWith&) const = default;
};

// SHA-256 over all that decides the bytes. `version` is backlot's own.
std::string cache_key(const Item& item, const OutputSettings& output, const MadeWith& how,
                      std::string_view version);

// A folder that a ResultCache was opened in.
bool is_cache(const fs::path& folder);

struct CachedOutput {
  std::string bytes, sha256;
  int64_t width = 0, height = 0;  // pixels
  Attempt attempt;                // as it was made
  std::optional<ClipFacts> clip = {};
};

struct CacheStats {
  int64_t entries = 0;
  uint64_t bytes = 0;
  std::optional<int64_t> oldest_use, newest_use;  // seconds since 1970
};

// What a look at every entry found.
struct CacheCheck {
  int64_t sound = 0;
  std::vector<std::string> removed;  // damaged or unreadable
  std::vector<std::string> stuck;    // the same, but they can't be removed
};

struct CacheClearing {
  CacheStats removed;
  std::vector<std::string> stuck;  // what can't be removed
};

// Any number of processes may use one folder at once, and each may be killed at any instant: an
// entry is one file that is put in place whole, and every hit is held against its hashes. Someone
// else's eviction looks like a miss.
//
// Once it is open, trouble never ends a run. It is told to `warn` (a full disk once, a damaged
// entry each time), and the run goes on as if the entry were not there. An entry that can't be read
// or replaced costs nothing but itself; the first few are named. Safe to use from several threads.
class ResultCache {
 public:
  using Warn = std::function<void(const std::string&)>;

  // Creates the folder if it is missing. Throws EnvironmentError if it holds something else, was
  // written by a newer backlot, or can't be opened.
  ResultCache(const fs::path& folder, CacheLimits limits, std::string version, Warn warn);

  const fs::path& path() const { return root_.path(); }
  const std::string& version() const { return version_; }

  // Verified, and marked as used now. A damaged or outlived entry is removed.
  std::optional<CachedOutput> get(std::string_view key);

  // Durable and visible to others when this returns; then makes room if a limit is passed.
  void put(std::string_view key, const CachedOutput& output);

  // Holds the limits, and removes what killed writers left. Does nothing where another process is
  // at it.
  void trim();

  // The same, if there are limits. For the start of a run that may only take.
  void hold_limits();

  // These throw EnvironmentError.
  CacheStats stats() const;
  CacheCheck remove_damaged();  // reads everything
  CacheClearing clear();        // foreign files stay

 private:
  struct Entry {
    double seconds_unused() const;
    bool abandoned() const;  // a temporary file that is no one's any more
    fs::path path;
    uint64_t bytes = 0;
    timespec used{};
    ino_t inode = 0;
    bool temporary = false;
  };
  // `odd` gets what stands in the place of entries and is none: folders, links, folders of entries
  // that can't be looked into.
  std::vector<Entry> entries(std::vector<fs::path>* odd = nullptr) const;
  void trim_now();
  bool remove_unchanged(const Entry& entry) const;
  bool discard(const Entry& entry) const;
  bool readable() const;
  bool clear_place(const fs::path& path) const;
  bool is_stuck(const fs::path& path) const;
  void leave_unread(const fs::path& path, const EnvironmentError& error);
  void warn_of_entry(const fs::path& path, std::string_view what);
  std::optional<CachedOutput> read(std::string_view key);
  void write(std::string_view key, const CachedOutput& output);
  void give_up(std::atomic<bool>& usable, std::string_view doing, const EnvironmentError& error);

  RootedFolder root_;
  CacheLimits limits_;
  std::string version_;
  Warn warn_;
  std::atomic<bool> readable_ = true, writable_ = true;
  std::atomic<int> named_ = 0;           // entries that were warned of
  std::mutex mutex_;                     // guards the rest
  std::optional<uint64_t> bytes_found_;  // by the last look at the whole folder
  uint64_t bytes_put_ = 0;               // by this process since then
  int64_t puts_ = 0;                     // likewise
};

}  // namespace backlot
