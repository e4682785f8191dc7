// What of a box's portion a worker is given next, and how much of it.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "fleet/batching.h"
#include "fleet/redis_queue.h"

namespace backlot {
namespace {

// Items in no worker's hand, beyond which none are fetched for a worker that can use none of them.
constexpr size_t most_waiting = 4;

}  // namespace

std::optional<Work> RedisQueue::take(const WorkerOffer& offer) {
  workers_ = static_cast<int64_t>(offer.workers);
  try {
    Held* first = choose(offer);
    // What is left may be done sooner by the others.
    const bool too_slow = offer.seconds_each > left() * offer.faster_seconds_each;
    if ((!first || !suspect(*first)) && offer.faster_seconds_each > 0 && too_slow)
      return std::nullopt;
    // Suspects that wait for another worker are not to keep this one from work, nor to pile up.
    while (!first && waiting_.size() < most_waiting && fetch(1)) first = choose(offer);
    if (!first) return std::nullopt;
    Work work;
    work.run = first->run->target();
    const auto batch = suspect(*first) ? std::vector<Held*>{first} : batch_for(*first, offer);
    for (Held* held : batch) {
      held->in_hand = true;
      std::erase(waiting_, held);
      work.items.push_back(&held->item);
    }
    return work;
  } catch (const Error&) {
    // Not for this box, it seems; others may have what it lacks.
    give_back_waiting();
    throw;
  }
}

bool RedisQueue::suspect(const Held& held) const {
  return held.alone || ledger_.suspect(held.item.id);
}

// Suspects first, then what the worker has the model for, then what has waited longest.
RedisQueue::Held* RedisQueue::choose(const WorkerOffer& offer) {
  Held *fitting = nullptr, *first = nullptr;
  for (Held* held : waiting_) {
    if (suspect(*held)) {
      if (offer.empty_handed && !ledger_.try_elsewhere(held->item.id, offer.worker, offer.workers))
        return held;
      continue;
    }
    if (!first) first = held;
    if (!fitting && pipeline_key(held->item) == offer.holds) fitting = held;
  }
  return fitting ? fitting : first;
}

std::vector<RedisQueue::Held*> RedisQueue::batch_for(Held& first, const WorkerOffer& offer) {
  const auto alike = [&](const Held* held) {
    return held->group == first.group && !suspect(*held);
  };
  // Batches of the asked size keep their pictures' very bytes, so only free ones are evened out.
  const int64_t asked = first.run->target()->batch_size;
  const int64_t fitting =
      asked > 0 ? asked : share_of(std::max<int64_t>(offer.most_together(first.item), 1));
  const int64_t most = std::min(fitting, ledger_.most_together(batch_key(first.item)));
  const int64_t here = std::ranges::count_if(waiting_, alike);
  if (here < most) fetch(most - here);
  std::vector<Held*> batch;
  for (Held* held : waiting_)
    if (std::ssize(batch) < most && alike(held)) batch.push_back(held);
  return batch;
}

// Items that no worker has in hand, as far as this box knows.
double RedisQueue::left() const {
  return static_cast<double>(state_.entries - state_.handed_out + std::ssize(waiting_));
}

// Towards the end all workers of all boxes get some of what is left.
int64_t RedisQueue::share_of(int64_t most) const {
  const auto workers = static_cast<double>(std::max({state_.workers, workers_, int64_t{1}}));
  return std::clamp(static_cast<int64_t>(std::ceil(left() / workers)), int64_t{1}, most);
}

}  // namespace backlot
