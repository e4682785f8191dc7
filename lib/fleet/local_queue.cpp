#include "fleet/local_queue.h"

#include <algorithm>
#include <cmath>

#include "base/time.h"
#include "fleet/batching.h"

namespace backlot {

LocalQueue::LocalQueue(RunFolder& folder, std::shared_ptr<const RunTarget> target, int64_t attempts)
    : folder_(folder), target_(std::move(target)), ledger_(attempts) {
  for (const auto& group : group_items(folder.pending()))
    for (const auto& batch : group.batches) {
      const Item& first = *batch.items.front();
      lane_of_[batch_key(first)] = lanes_.size();
      lanes_.push_back({.pipeline = pipeline_key(first), .batch = batch_key(first)});
      lanes_.back().items.assign(batch.items.begin(), batch.items.end());
      left_ += std::ssize(batch.items);
    }
}

std::optional<Work> LocalQueue::take(const WorkerOffer& offer) {
  Work work{.run = target_};
  if (Lane* lane = lane_for(offer)) {
    const int64_t count = how_many(offer, *lane);
    const auto end = lane->items.begin() + count;
    work.items.assign(lane->items.begin(), end);
    lane->items.erase(lane->items.begin(), end);
  } else if (const Item* suspect = offer.empty_handed ? take_suspect(offer) : nullptr) {
    // Last of all, so that what may end workers again keeps nothing else waiting.
    work.items.push_back(suspect);
  }
  if (work.items.empty()) return std::nullopt;
  left_ -= std::ssize(work.items);
  in_hand_.insert(work.items.begin(), work.items.end());
  return work;
}

// One that did not end this very worker, unless there is no other to try it.
const Item* LocalQueue::take_suspect(const WorkerOffer& offer) {
  const auto fits = [&](const Item* item) {
    return !ledger_.try_elsewhere(item->id, offer.worker, offer.workers);
  };
  const auto found = std::ranges::find_if(suspects_, fits);
  if (found == suspects_.end()) return nullptr;
  const Item* item = *found;
  suspects_.erase(found);
  return item;
}

// What the worker has the model for, else the first that has items left.
LocalQueue::Lane* LocalQueue::lane_for(const WorkerOffer& offer) {
  Lane* first = nullptr;
  for (Lane& lane : lanes_) {
    if (lane.items.empty()) continue;
    if (lane.pipeline == offer.holds) return &lane;
    if (!first) first = &lane;
  }
  return first;
}

int64_t LocalQueue::how_many(const WorkerOffer& offer, const Lane& lane) const {
  const int64_t left = std::ssize(lane.items);
  const int64_t most = std::min({std::max<int64_t>(offer.most_together(*lane.items.front()), 1),
                                 ledger_.most_together(lane.batch), left});
  if (left_ > left || offer.workers < 2) return most;
  const double others_take = static_cast<double>(left) * offer.faster_seconds_each;
  if (offer.faster_seconds_each > 0 && offer.seconds_each > others_take) return 0;
  // Batches of the asked size keep their pictures' very bytes, so only free ones are evened out.
  if (target_->batch_size > 0) return most;
  const auto share = static_cast<double>(left) / static_cast<double>(offer.workers);
  return std::min(most, static_cast<int64_t>(std::ceil(share)));
}

void LocalQueue::settled(const Item& item, const Record& record) {
  if (in_hand_.erase(&item) == 0) return;
  folder_.adopt(record);
  ledger_.forget(item.id);
  losses_.erase(&item);
}

void LocalQueue::give_back(const Item& item) {
  if (in_hand_.erase(&item) == 0) return;
  put_back(item);
}

void LocalQueue::put_back(const Item& item) {
  ++left_;
  if (ledger_.suspect(item.id))
    suspects_.push_back(&item);
  else
    lanes_[lane_of_.at(batch_key(item))].items.push_front(&item);
}

std::vector<GivenUp> LocalQueue::lost(const std::vector<const Item*>& items, const Loss& loss) {
  auto given_up = ledger_.lost(items, loss);
  for (const auto& [item, reason] : given_up) fail(*item, reason, loss);
  // Pushed to the front one by one: the last first keeps them in order.
  for (auto item = items.rbegin(); item != items.rend(); ++item) {
    if (in_hand_.erase(*item) == 0) continue;
    ++losses_[*item];
    put_back(**item);
  }
  return given_up;
}

void LocalQueue::fail(const Item& item, const std::string& reason, const Loss& loss) {
  in_hand_.erase(&item);
  Attempt attempt;
  attempt.started = utc_now();
  attempt.device = loss.device;
  attempt.dtype = target_->dtype;
  attempt.quantization = target_->quantization;
  attempt.tries = ++losses_[&item];
  folder_.record_failed(item, reason, attempt);
  losses_.erase(&item);
  ledger_.forget(item.id);
}

int64_t LocalQueue::tries_so_far(const Item& item) const {
  const auto losses = losses_.find(&item);
  return folder_.attempts(item) + (losses == losses_.end() ? 0 : losses->second);
}

}  // namespace backlot
