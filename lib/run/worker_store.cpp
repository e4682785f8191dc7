#include "run/worker_store.h"

#include <fmt/format.h>

#include <utility>

#include "base/error.h"
#include "base/sha256.h"
#include "run/checkpoints.h"

namespace backlot {
namespace {

RootedFolder existing_run(const fs::path& folder, const std::string& temporary_tag) {
  std::error_code absent;
  if (!fs::exists(folder / "journal", absent))
    throw EnvironmentError(folder.string(), "is no run folder that this worker can see",
                           "mount it here, or give this machine a run folder with --output");
  return RootedFolder(folder, temporary_tag);
}

}  // namespace

WorkerStore::WorkerStore(const fs::path& run_folder, std::string_view journal,
                         std::function<void(const Record&)> recorded)
    : temporary_tag_(fmt::format("{}.", journal)),
      root_(existing_run(run_folder, temporary_tag_)),
      journal_(root_, journal),
      recorded_(std::move(recorded)),
      private_paths_(root_.path()) {}

void WorkerStore::limit_space(SpaceLimits limits) { space_.emplace(root_, limits); }

void WorkerStore::expect(const Item& item, int64_t attempts_before) {
  const std::lock_guard lock(mutex_);
  private_paths_.add(item.model.parent_path());
  attempts_before_[item.id] = attempts_before;
}

OutputFile WorkerStore::write_output(const Item& item, std::string_view bytes) const {
  if (space_) space_->take(item.output, bytes.size());
  root_.write_durably(item.output, bytes);
  return {.path = item.output, .sha256 = sha256_hex(bytes), .bytes = bytes.size()};
}

fs::path WorkerStore::place_for(const Item& item) const {
  root_.make_folder(fs::path(item.output).parent_path());
  return root_.path() / item.output;
}

void WorkerStore::claim(const Item& item, uint64_t bytes) const {
  if (space_) space_->take(item.output, bytes);
}

void WorkerStore::keep_checkpoint(const Item& item, std::string_view bytes) const {
  backlot::keep_checkpoint(root_, item.id, bytes);
}

std::optional<std::string> WorkerStore::checkpoint(const Item& item) const {
  return read_checkpoint(root_, item.id);
}

void WorkerStore::record_engine(const EngineRecord& engine) {
  const std::lock_guard lock(mutex_);
  journal_.append(to_json(engine));
}

void WorkerStore::record(const Item& item, Record record) {
  {
    const std::lock_guard lock(mutex_);
    record.id = item.id;
    record.index = item.index;
    record.attempts = attempts_before_[item.id] + record.attempt.tries;
    for (auto& warning : record.attempt.warnings) warning = private_paths_.removed_from(warning);
    record.error = private_paths_.removed_from(record.error);
    journal_.append(to_json(record));
    attempts_before_.erase(item.id);
  }
  drop_checkpoint(root_, item.id);
  recorded_(record);
}

void WorkerStore::record_done(const Item& item, const OutputFile& file, int64_t width,
                              int64_t height, Attempt attempt) {
  record(item, {.status = ItemStatus::done,
                .file = file,
                .width = width,
                .height = height,
                .attempt = std::move(attempt)});
}

void WorkerStore::record_failed(const Item& item, std::string error, Attempt attempt) {
  record(item,
         {.status = ItemStatus::failed, .error = std::move(error), .attempt = std::move(attempt)});
}

}  // namespace backlot
