// What the tasks' journals say while they work: for whoever watches, not yet proven.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "fleet/fleet_progress.h"
#include "run/journal_follower.h"
#include "slurm/job_file.h"

namespace backlot {

// Shard K of `shards` that makes the item; as Shard::owns.
int64_t shard_of(const Item& item, int64_t shards);

class FollowedRecords {
 public:
  // All that is given by reference must outlive it.
  FollowedRecords(const Plan& plan, FleetProgress& progress);

  // From a look at the folder: all but `pending` is done. Nobody may be at work in it.
  void begin(const RootedFolder& root, const std::vector<const Item*>& pending);

  // While tasks are at work: what the journals say by now is from before.
  void begin_amid(const RootedFolder& root);

  // Tells of what is new.
  void take_news();

  // True if each item of the round's shards is done or failed. Quick: called over and over.
  void begin_round(const SlurmRound& round);
  bool all_settled();

  bool begun() const { return journals_.has_value(); }
  int64_t reused() const { return reused_; }
  RunTotals totals(double seconds) const;

 private:
  void tell_of_begin();
  void take(bool tell);

  const Plan& plan_;
  FleetProgress& progress_;
  std::optional<JournalFollower> journals_;
  std::unordered_map<std::string_view, const Item*> by_id_;
  std::unordered_set<const Item*> done_, failed_;
  int64_t reused_ = 0;
  std::vector<bool> in_round_;  // by shard, from 1
  size_t settled_ = 0;          // items of the plan, from its start
};

}  // namespace backlot
