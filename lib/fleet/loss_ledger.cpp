#include "fleet/loss_ledger.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "fleet/batching.h"

namespace backlot {
namespace {

constexpr size_t faults_of_poison = 2;

}  // namespace

std::vector<GivenUp> LossLedger::lost(const std::vector<const Item*>& items, const Loss& loss) {
  if (loss.out_of_memory && items.size() > 1) {
    learn_limits(items);
    return {};
  }
  std::vector<GivenUp> given_up;
  for (const Item* item : items)
    if (auto reason = give_up(item->id, loss)) given_up.push_back({item, std::move(*reason)});
  return given_up;
}

std::optional<std::string> LossLedger::give_up(const std::string& item_id, const Loss& loss) {
  History& history = histories_[item_id];
  ++history.losses;
  history.suspect = true;
  history.workers.insert(loss.worker);
  if (loss.own_fault) history.faults.emplace_back(loss.worker, loss.reason);
  if (history.faults.size() >= faults_of_poison)
    return fmt::format("ended two workers: {} {}, then {} {}", history.faults[0].first,
                       history.faults[0].second, history.faults[1].first, history.faults[1].second);
  if (history.losses >= attempts_)
    return fmt::format("its worker ended at each of {} attempt{}; the last: {} {}", history.losses,
                       history.losses == 1 ? "" : "s", loss.worker, loss.reason);
  return std::nullopt;
}

// Half of what was in hand, and half of the last limit: an earlier batch that was still being
// written counts as in hand too, so the first half alone might change nothing. Where one at a time
// is still too much beside an earlier one's writing, each is tried alone.
void LossLedger::learn_limits(const std::vector<const Item*>& items) {
  std::map<std::string, int64_t> in_hand;
  for (const Item* item : items) ++in_hand[batch_key(*item)];
  for (const auto& [key, count] : in_hand)
    limits_[key] = std::max<int64_t>(1, std::min(count, most_together(key)) / 2);
  for (const Item* item : items)
    if (in_hand[batch_key(*item)] == 1 || limits_[batch_key(*item)] == 1)
      histories_[item->id].suspect = true;
}

bool LossLedger::suspect(const std::string& item_id) const {
  const auto found = histories_.find(item_id);
  return found != histories_.end() && found->second.suspect;
}

bool LossLedger::try_elsewhere(const std::string& item_id, const std::string& worker,
                               size_t workers) const {
  const auto found = histories_.find(item_id);
  if (found == histories_.end()) return false;
  const auto& ended = found->second.workers;
  return ended.contains(worker) && ended.size() < workers;
}

int64_t LossLedger::most_together(const std::string& batch_key) const {
  const auto found = limits_.find(batch_key);
  return found == limits_.end() ? std::numeric_limits<int64_t>::max() : found->second;
}

}  // namespace backlot
