#include "fleet/redis_runs.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/time.h"
#include "run/output_files.h"
#include "run/run_folder.h"

namespace backlot {
namespace {

bool is_folder_of(const fs::path& folder, uint64_t base_seed) {
  std::error_code absent;
  return fs::exists(folder / "journal" / "run.json", absent) &&
         RunFolder::base_seed(folder) == base_seed;
}

// A run folder of this box's own, which can be merged into the run's.
fs::path make_own_folder(const fs::path& output, const QueuedRun& queued) {
  const fs::path folder = fs::absolute(output / queued.name).lexically_normal();
  if (is_folder_of(folder, queued.base_seed)) return folder;
  std::error_code absent;
  if (fs::exists(folder, absent) && !fs::is_empty(folder, absent))
    throw EnvironmentError(folder.string(), "holds something else than this run's outputs",
                           "give another folder with --output");
  make_folders(folder);
  const RootedFolder root(folder);
  root.make_folder("journal");
  const Json identity{{"version", 1}, {"base_seed", queued.base_seed}, {"created", utc_now()}};
  root.write_durably("journal/run.json", identity.dump() + "\n");
  return folder;
}

bool file_is_there(const RootedFolder& root, const Record& record) {
  return record.status == ItemStatus::done &&
         output_bytes(root, record.file.path) == record.file.bytes;
}

}  // namespace

RedisRun::RedisRun(const QueuedRun& queued, const std::string& journals, const fs::path& output) {
  auto target = std::make_shared<RunTarget>();
  target->journals = journals;
  target->output = queued.output;
  target->dtype = queued.dtype;
  target->quantization = queued.quantization;
  target->batch_size = queued.batch_size;
  target->allow_lower_precision = queued.allow_lower_precision;
  target->checkpoint_steps = queued.checkpoint_steps;
  if (output.empty()) {
    target->folder = queued.folder;
    if (!is_folder_of(queued.folder, queued.base_seed))
      throw EnvironmentError(
          queued.folder,
          fmt::format("the folder of run '{}' is not within reach of this box", queued.name),
          "mount it here under the same path, or give --output DIR to keep this "
          "box's outputs apart and merge them later");
  } else {
    target->folder = make_own_folder(output, queued);
    elsewhere_ = target->folder.string();
    const RootedFolder root(target->folder);
    for (Record& record : read_journals(root).records)
      if (file_is_there(root, record)) done_before_[record.id] = std::move(record);
  }
  target_ = std::move(target);
}

std::vector<Record> RedisRun::find_done(const std::vector<const Item*>& items) const {
  std::unordered_map<std::string_view, Record> found;
  const RootedFolder root(target_->folder);
  std::unordered_map<std::string_view, const Item*> wanted;
  for (const Item* item : items) wanted[item->id] = item;
  for (Record& record : read_journals(root).records) {
    const auto item = wanted.find(record.id);
    if (item != wanted.end() && file_is_there(root, record))
      found[item->second->id] = std::move(record);
  }
  std::vector<Record> records;
  for (auto& entry : found) records.push_back(std::move(entry.second));
  return records;
}

const Record* RedisRun::done_before(const std::string& id) const {
  const auto found = done_before_.find(id);
  return found == done_before_.end() ? nullptr : &found->second;
}

Record RedisRun::record_failed(const Item& item, const std::string& reason, Attempt attempt,
                               int64_t tries_before) const {
  // Opened anew each time, as a folder's journal may be open but once; failures are rare.
  Record written;
  WorkerStore store(target_->folder, target_->journals + "supervisor",
                    [&](const Record& record) { written = record; });
  store.expect(item, tries_before);
  store.record_failed(item, reason, std::move(attempt));
  return written;
}

}  // namespace backlot
