// What a RunFolder keeps of its run, and how that becomes the manifest. Only run_folder*.cpp see
// it.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/time.h"
#include "run/identity.h"
#include "run/private_paths.h"
#include "run/run_folder.h"
#include "run/run_lock.h"
#include "run/space_guard.h"

namespace backlot {

// Lets writers through until it is shut; from then on they wait for ever.
class WriteGate {
 public:
  class Pass {
   public:
    explicit Pass(WriteGate& gate);
    ~Pass();
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;

   private:
    WriteGate& gate_;
  };
  void shut();  // returns once those inside are through

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int64_t inside_ = 0;
  bool shut_ = false;
};

struct RunFolder::State {
  State(const fs::path& folder, const Plan& plan, RunInfo info, const RunFolderOptions& options)
      : shard(options.shard),
        boxes_write(options.boxes_write),
        root(folder, prefix()),
        plan(plan),
        info(std::move(info)),
        private_paths(root.path()) {
    for (const auto& model : this->info.models) private_paths.add(model.path.parent_path());
  }

  std::string prefix() const { return shard ? file_name_of(*shard) + "." : ""; }
  bool owns(const Item& item) const { return !shard || shard->owns(item); }

  void identify(Resume resume);
  void open_journal();
  void prepare();
  void tidy_checkpoints();
  void read_other_shards();
  void write_manifest();
  void write_manifest_alone();
  void renew_manifest_if_due();
  void adopt_journals();
  std::vector<std::string> drop_lost();  // their outputs' names
  size_t complete(const Item& item, Record& record) const;
  void put(size_t place, Record record);
  void settle(size_t place, Record record);
  bool add_engine(const EngineRecord& engine);  // false: known already

  std::optional<Shard> shard;
  bool boxes_write;
  RootedFolder root;
  const Plan& plan;
  RunInfo info;
  std::optional<RunLock> lock;
  std::optional<JournalWriter> journal;
  std::optional<SpaceGuard> space;
  Identity identity;
  Findings findings;

  WriteGate gate;               // before the mutex
  mutable std::mutex mutex;     // guards everything below, and the journal
  std::vector<Record> records;  // by place in the plan
  Totals own, others;           // of them
  std::vector<bool> settled;    // done, or failed since open()
  std::vector<EngineRecord> engines;
  TextRecords texts;
  std::unordered_map<std::string_view, size_t> place_of;  // by id
  PrivatePaths private_paths;
  Stopwatch since_manifest;
  double manifest_seconds = 0;  // what the last one took
  std::optional<int64_t> manifest_modified;
  std::function<std::string()> more_metrics;
};

}  // namespace backlot
