// What models were measured to take, kept from run to run. A store that is damaged or can't be
// written costs better plans, never a run.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"

namespace backlot {

// What a measurement holds for.
struct MemoryKey {
  std::string model;   // fingerprint, with the VAE's where another one was given
  std::string device;  // its kind: what the maker calls it
  std::string dtype, quantization = "none";
  int64_t width = 0, height = 0;
  bool guidance = false;
  bool text_encoders_out = false;  // loaded for encoding only
  bool tiled = false;
  int64_t frames = 0;                 // of a clip; 0: pictures
  bool text_encoder_on_host = false;  // of a clip: a GPU that never holds it
  bool step_cache = false;            // of a clip

  auto operator<=>(const MemoryKey&) const = default;
};

// Bytes of one process: on a CPU what it holds in memory, on a GPU what its allocator has taken.
struct MeasuredMemory {
  uint64_t before = 0;                // before anything was loaded
  uint64_t loaded = 0;                // with the model loaded, nothing being made
  std::map<int64_t, uint64_t> peaks;  // while so many pictures were made together

  // Learned when memory ran out: no more than this many together (0: not even one) where
  // `limit_allowed` bytes or less may be taken in all.
  std::optional<int64_t> limit;
  uint64_t limit_allowed = 0;
};

// Safe for many processes at once: each change is made under a lock to what is on the disk then.
class MemoryStore {
 public:
  // $XDG_CACHE_HOME/backlot/memory.json, else ~/.cache/backlot/memory.json; empty without either.
  static fs::path usual_path();

  // With an empty path nothing is found and nothing kept.
  explicit MemoryStore(fs::path path = usual_path());

  std::optional<MeasuredMemory> find(const MemoryKey& key) const;

  // Every entry of a model, for people.
  std::vector<std::pair<MemoryKey, MeasuredMemory>> of_model(const std::string& model) const;

  // A batch was made. A peak above the one known replaces it; a lower one draws it down slowly.
  void note_batch(const MemoryKey& key, uint64_t before, uint64_t loaded, int64_t together,
                  uint64_t peak);

  // Memory ran out with more than `together` pictures where `allowed` bytes could be taken.
  void note_limit(const MemoryKey& key, int64_t together, uint64_t allowed);

 private:
  template <class Change>
  void change(const MemoryKey& key, Change make);

  fs::path path_;
  std::map<MemoryKey, MeasuredMemory> entries_;
};

}  // namespace backlot
