// manifest.json: the run as one document for people and scripts, made from the plan and the
// records. docs/manifest.md and docs/schema/manifest.schema.json describe it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "run/journal.h"
#include "run/rooted_folder.h"
#include "spec/item.h"

namespace backlot {

// A model that items of the plan use.
struct ModelInfo {
  fs::path path;                       // as in Item::model; only its last part is ever written down
  std::string fingerprint;             // SHA-256
  std::optional<std::string> licence;  // file name in the model's folder
};

struct RunInfo {
  std::string backlot_version;
  std::vector<ModelInfo> models;
  uint64_t base_seed = 0;  // from RunFolder::base_seed
};

struct Totals {
  int64_t items = 0, done = 0, failed = 0, pending = 0;
  double seconds = 0;  // spent on done items
  uint64_t bytes = 0;  // of their outputs

  void add(const Record& record);
  void remove(const Record& record);
  Totals& operator+=(const Totals& other);
};

using TextRecords = std::unordered_map<std::string, TextRecord>;  // by id
TextRecords texts_by_id(std::span<const TextRecord> texts);       // the last of one id counts

struct ManifestView {
  const Plan& plan;
  const RunInfo& info;
  std::span<const Record> records;  // one per item of the plan, in its order
  std::span<const EngineRecord> engines;
  const TextRecords& texts;
  std::span<const std::string> leftover;
  std::string started;  // when the run folder was made
};

Totals totals_of(std::span<const Record> records);

// Replaces manifest.json atomically. Streams: memory does not grow with the number of items.
void write_manifest(const RootedFolder& root, const ManifestView& view);

}  // namespace backlot
