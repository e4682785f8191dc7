// A plan's pending items, dealt out to the workers of this machine.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "fleet/loss_ledger.h"
#include "fleet/work_queue.h"
#include "run/run_folder.h"

namespace backlot {

// Workers come for a batch whenever they are free, so none waits for another; towards the end a
// slow one is handed only what it ends no later than the fast ones end the rest.
class LocalQueue : public WorkQueue {
 public:
  // Records go into `folder`, which must outlive this, and so must its plan. `attempts`: how often
  // an item is tried at most before it is given up.
  LocalQueue(RunFolder& folder, std::shared_ptr<const RunTarget> target, int64_t attempts);

  std::optional<Work> take(const WorkerOffer& offer) override;
  void settled(const Item& item, const Record& record) override;
  void give_back(const Item& item) override;
  std::vector<GivenUp> lost(const std::vector<const Item*>& items, const Loss& loss) override;
  bool finished() override { return left_ == 0 && in_hand_.empty(); }
  int64_t tries_so_far(const Item& item) const override;

 private:
  // Items that may be made together, in the plan's order.
  struct Lane {
    std::string pipeline, batch;  // keys
    std::deque<const Item*> items;
  };

  const Item* take_suspect(const WorkerOffer& offer);
  Lane* lane_for(const WorkerOffer& offer);
  int64_t how_many(const WorkerOffer& offer, const Lane& lane) const;
  void put_back(const Item& item);
  void fail(const Item& item, const std::string& reason, const Loss& loss);

  RunFolder& folder_;
  std::shared_ptr<const RunTarget> target_;
  LossLedger ledger_;
  std::vector<Lane> lanes_;
  std::unordered_map<std::string, size_t> lane_of_;  // by batch key
  std::deque<const Item*> suspects_;
  std::unordered_set<const Item*> in_hand_;
  std::unordered_map<const Item*, int64_t> losses_;
  int64_t left_ = 0;  // in lanes and among the suspects
};

}  // namespace backlot
