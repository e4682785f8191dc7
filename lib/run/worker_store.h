// What a worker process writes into a run folder that its supervisor holds: outputs, and a journal
// of its own.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "run/journal.h"
#include "run/private_paths.h"
#include "run/result_store.h"
#include "run/rooted_folder.h"
#include "run/space_guard.h"

namespace backlot {

class WorkerStore : public ResultStore {
 public:
  // Appends to journal/NAME.jsonl of the run folder, which no other process may have open.
  // `recorded` hears of every record once it is on disk, from the thread that wrote it. Throws
  // EnvironmentError: no run folder there, not writable.
  WorkerStore(const fs::path& run_folder, std::string_view journal,
              std::function<void(const Record&)> recorded);

  // What records of the item go on from: tries of earlier starts and of other workers, and the
  // folder of its model, which is not to be written down.
  void expect(const Item& item, int64_t attempts_before);

  // From here on outputs are written within these limits, which all who work in the folder share.
  void limit_space(SpaceLimits limits);

  OutputFile write_output(const Item& item, std::string_view bytes) const override;
  fs::path place_for(const Item& item) const override;
  std::string temporary_tag() const override { return temporary_tag_; }
  void claim(const Item& item, uint64_t bytes) const override;
  void keep_checkpoint(const Item& item, std::string_view bytes) const override;
  std::optional<std::string> checkpoint(const Item& item) const override;
  void record_engine(const EngineRecord& engine) override;
  void record_done(const Item& item, const OutputFile& file, int64_t width, int64_t height,
                   Attempt attempt) override;
  void record_failed(const Item& item, std::string error, Attempt attempt) override;

 private:
  void record(const Item& item, Record record);

  std::string temporary_tag_;
  RootedFolder root_;
  std::optional<SpaceGuard> space_;
  JournalWriter journal_;
  std::function<void(const Record&)> recorded_;
  std::mutex mutex_;  // guards the journal and what is below
  PrivatePaths private_paths_;
  std::unordered_map<std::string, int64_t> attempts_before_;  // by id
};

}  // namespace backlot
