// What workers that ended say about the items that they had in hand: which to try again and how,
// and which to give up.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "fleet/work_queue.h"

namespace backlot {

// One item more than a worker could bear must not end a whole fleet, and innocent items must not
// fail with it. So an item that was in the hands of a worker that ended is a suspect, tried alone
// from then on; one that was there when a second worker ended of its own fault is given up. A
// worker that was killed from outside says little about its items: those are bounded by `attempts`
// alone. Running out of memory with several items in hand is no fault of theirs: fewer of them are
// made together.
class LossLedger {
 public:
  // `attempts`: how often an item is tried at most, at least 1.
  explicit LossLedger(int64_t attempts) : attempts_(attempts) {}

  // All that a worker had in hand when it ended. Returns those of them that are not to be tried
  // again.
  std::vector<GivenUp> lost(const std::vector<const Item*>& items, const Loss& loss);

  // To be handed out alone, to a worker with nothing else in hand.
  bool suspect(const std::string& item_id) const;

  // True if this worker ended with the item in hand, and one of the fleet's `workers` has not.
  bool try_elsewhere(const std::string& item_id, const std::string& worker, size_t workers) const;

  // How many items of one batch key to hand out together at most, as far as was learned.
  int64_t most_together(const std::string& batch_key) const;

  // The item is settled: nothing about it is needed any more.
  void forget(const std::string& item_id) { histories_.erase(item_id); }

 private:
  struct History {
    int64_t losses = 0;
    bool suspect = false;
    std::set<std::string> workers;                            // that ended with it
    std::vector<std::pair<std::string, std::string>> faults;  // worker, reason
  };

  std::optional<std::string> give_up(const std::string& item_id, const Loss& loss);
  void learn_limits(const std::vector<const Item*>& items);

  int64_t attempts_;
  std::unordered_map<std::string, History> histories_;  // by item id
  std::map<std::string, int64_t> limits_;               // by batch key
};

}  // namespace backlot
