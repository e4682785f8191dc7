#include "fleet/memory_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/error.h"

namespace backlot {
namespace {

using Entries = std::map<MemoryKey, MeasuredMemory>;

constexpr uint64_t most_file_bytes = uint64_t{16} << 20;
constexpr size_t most_entries = 1000;

// Held while a change is made. Without it (a read-only folder, say) nothing is written.
class StoreLock {
 public:
  explicit StoreLock(const fs::path& path)
      : fd_(::open((path.string() + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
    if (fd_ < 0) return;
    while (::flock(fd_, LOCK_EX) != 0)
      if (errno != EINTR) return;
    held_ = true;
  }
  ~StoreLock() {
    if (fd_ >= 0) ::close(fd_);
  }
  StoreLock(const StoreLock&) = delete;
  StoreLock& operator=(const StoreLock&) = delete;
  bool held() const { return held_; }

 private:
  int fd_;
  bool held_ = false;
};

Json to_json(const MemoryKey& key, const MeasuredMemory& memory) {
  Json peaks = Json::object();
  for (const auto& [together, peak] : memory.peaks) peaks[std::to_string(together)] = peak;
  Json out{{"model", key.model},       {"device", key.device},
           {"dtype", key.dtype},       {"quantization", key.quantization},
           {"width", key.width},       {"height", key.height},
           {"guidance", key.guidance}, {"text_encoders_out", key.text_encoders_out},
           {"tiled", key.tiled},       {"before", memory.before},
           {"loaded", memory.loaded},  {"peaks", std::move(peaks)}};
  if (key.frames > 0) {
    out["frames"] = key.frames;
    out["text_encoder_on_host"] = key.text_encoder_on_host;
    out["step_cache"] = key.step_cache;
  }
  if (memory.limit) {
    out["limit"] = *memory.limit;
    out["limit_allowed"] = memory.limit_allowed;
  }
  return out;
}

std::pair<MemoryKey, MeasuredMemory> entry_from(const Json& json) {
  MemoryKey key;
  json.at("model").get_to(key.model);
  json.at("device").get_to(key.device);
  json.at("dtype").get_to(key.dtype);
  json.at("quantization").get_to(key.quantization);
  json.at("width").get_to(key.width);
  json.at("height").get_to(key.height);
  json.at("guidance").get_to(key.guidance);
  json.at("text_encoders_out").get_to(key.text_encoders_out);
  json.at("tiled").get_to(key.tiled);
  key.frames = json.value("frames", int64_t{0});
  key.text_encoder_on_host = json.value("text_encoder_on_host", false);
  key.step_cache = json.value("step_cache", false);
  MeasuredMemory memory;
  json.at("before").get_to(memory.before);
  json.at("loaded").get_to(memory.loaded);
  const Json& peaks = json.at("peaks");
  for (const auto& [together, peak] : peaks.items()) {
    const int64_t count = std::strtoll(together.c_str(), nullptr, 10);
    if (count > 0) memory.peaks[count] = peak.get<uint64_t>();
  }
  if (json.contains("limit")) {
    memory.limit = json["limit"].get<int64_t>();
    json.at("limit_allowed").get_to(memory.limit_allowed);
  }
  return {std::move(key), std::move(memory)};
}

// What can be made sense of; a damaged file or entry is as good as none.
Entries read_entries(const fs::path& path) {
  Entries entries;
  std::error_code error;
  if (path.empty() || !fs::is_regular_file(path, error)) return entries;
  try {
    const Json file = Json::parse(read_file(path, most_file_bytes), nullptr, false);
    if (!file.is_object() || !file.contains("entries")) return entries;
    for (const auto& each : file["entries"]) {
      try {
        entries.insert(entry_from(each));
      } catch (const Json::exception&) {
      }
    }
  } catch (const Error&) {
  }
  return entries;
}

uint64_t drawn_towards(uint64_t known, uint64_t now) {
  return known == 0 || now >= known ? now : known - (known - now) / 4;
}

// So that a run in its steady state writes nothing.
bool differ(uint64_t a, uint64_t b) {
  return std::max(a, b) - std::min(a, b) > std::max(a, b) / 50;
}

bool differ(const MeasuredMemory& a, const MeasuredMemory& b) {
  if (a.limit != b.limit || a.limit_allowed != b.limit_allowed ||
      a.peaks.size() != b.peaks.size() || differ(a.before, b.before) || differ(a.loaded, b.loaded))
    return true;
  return std::ranges::any_of(a.peaks, [&](const auto& peak) {
    const auto other = b.peaks.find(peak.first);
    return other == b.peaks.end() || differ(peak.second, other->second);
  });
}

}  // namespace

fs::path MemoryStore::usual_path() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  if (cache && *cache == '/') return fs::path(cache) / "backlot/memory.json";
  if (home && *home == '/') return fs::path(home) / ".cache/backlot/memory.json";
  return {};
}

MemoryStore::MemoryStore(fs::path path) : path_(std::move(path)), entries_(read_entries(path_)) {}

std::optional<MeasuredMemory> MemoryStore::find(const MemoryKey& key) const {
  const auto found = entries_.find(key);
  return found == entries_.end() ? std::nullopt : std::optional(found->second);
}

std::vector<std::pair<MemoryKey, MeasuredMemory>> MemoryStore::of_model(
    const std::string& model) const {
  std::vector<std::pair<MemoryKey, MeasuredMemory>> found;
  for (const auto& entry : entries_)
    if (entry.first.model == model) found.push_back(entry);
  return found;
}

template <class Change>
void MemoryStore::change(const MemoryKey& key, Change make) {
  MeasuredMemory mine = entries_[key];
  make(mine);
  if (!differ(mine, entries_[key])) return;
  if (path_.empty()) {
    entries_[key] = std::move(mine);
    return;
  }
  try {
    make_folders(path_.parent_path());
    const StoreLock lock(path_);
    entries_ = read_entries(path_);
    make(entries_[key]);
    if (!lock.held()) return;
    Json list = Json::array();
    if (entries_.size() <= most_entries)
      for (const auto& [each, memory] : entries_) list.push_back(to_json(each, memory));
    else  // what nobody measures again will be missed the least
      list.push_back(to_json(key, entries_[key]));
    const Json file{{"version", 1}, {"entries", std::move(list)}};
    write_file_durably(path_, file.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
  } catch (const Error&) {
    entries_[key] = std::move(mine);
  }
}

void MemoryStore::note_batch(const MemoryKey& key, uint64_t before, uint64_t loaded,
                             int64_t together, uint64_t peak) {
  change(key, [&](MeasuredMemory& memory) {
    memory.before = drawn_towards(memory.before, before);
    memory.loaded = drawn_towards(memory.loaded, loaded);
    memory.peaks[together] = drawn_towards(memory.peaks[together], peak);
    // Room for more was found since.
    if (memory.limit && together > *memory.limit) memory.limit.reset(), memory.limit_allowed = 0;
  });
}

void MemoryStore::note_limit(const MemoryKey& key, int64_t together, uint64_t allowed) {
  change(key, [&](MeasuredMemory& memory) {
    memory.limit = together;
    memory.limit_allowed = allowed;
  });
}

}  // namespace backlot
