#include "slurm/followed_records.h"

#include <algorithm>

namespace backlot {

int64_t shard_of(const Item& item, int64_t shards) { return item.index % shards + 1; }

FollowedRecords::FollowedRecords(const Plan& plan, FleetProgress& progress)
    : plan_(plan), progress_(progress) {
  by_id_.reserve(plan.items.size());
  for (const auto& item : plan.items) by_id_[item.id] = &item;
}

void FollowedRecords::begin(const RootedFolder& root, const std::vector<const Item*>& pending) {
  journals_.emplace(root);
  journals_->skip_to_end();
  for (const auto& item : plan_.items) done_.insert(&item);
  for (const Item* item : pending) done_.erase(item);
  tell_of_begin();
}

void FollowedRecords::begin_amid(const RootedFolder& root) {
  journals_.emplace(root);
  take(false);
  tell_of_begin();
}

void FollowedRecords::tell_of_begin() {
  reused_ = static_cast<int64_t>(done_.size());
  progress_.begin({plan_.name, static_cast<int64_t>(plan_.items.size()), reused_});
  for (const auto& item : plan_.items)
    if (!done_.contains(&item)) progress_.item_queued(item);
}

void FollowedRecords::take_news() { take(true); }

void FollowedRecords::take(bool tell) {
  for (auto records = journals_->poll(); !records.empty(); records = journals_->poll())
    for (const auto& record : records) {
      const auto found = by_id_.find(record.id);
      if (found == by_id_.end() || done_.contains(found->second)) continue;
      const Item* item = found->second;
      if (record.status == ItemStatus::done) {
        done_.insert(item);
        // An item that was told of as failed and came out at a second try counts once.
        if (failed_.erase(item) == 0 && tell) progress_.item_done(*item, record);
      } else if (failed_.insert(item).second && tell) {
        progress_.item_failed(*item, record.error);
      }
    }
}

void FollowedRecords::begin_round(const SlurmRound& round) {
  in_round_.assign(static_cast<size_t>(round.tasks) + 1, false);
  for (const int64_t shard : round.shards) in_round_.at(static_cast<size_t>(shard)) = true;
  settled_ = 0;
}

bool FollowedRecords::all_settled() {
  const auto shards = static_cast<int64_t>(in_round_.size()) - 1;
  for (; settled_ < plan_.items.size(); ++settled_) {
    const Item& item = plan_.items[settled_];
    if (in_round_[static_cast<size_t>(shard_of(item, shards))] && !done_.contains(&item) &&
        !failed_.contains(&item))
      return false;
  }
  return true;
}

RunTotals FollowedRecords::totals(double seconds) const {
  const auto items = static_cast<int64_t>(plan_.items.size());
  const auto done = static_cast<int64_t>(done_.size());
  return {.items = items,
          .reused = reused_,
          .done = done - reused_,
          .failed = static_cast<int64_t>(failed_.size()),
          .pending = items - done,
          .seconds = seconds};
}

}  // namespace backlot
