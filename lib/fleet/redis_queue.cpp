#include "fleet/redis_queue.h"

#include <fmt/format.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <exception>

#include "base/error.h"
#include "base/text.h"
#include "base/time.h"
#include "fleet/batching.h"
#include "spec/item_json.h"

namespace backlot {
namespace {

using std::chrono::milliseconds;

constexpr double seconds_between_beats = 2, seconds_between_reads = 0.25;

// What is in hand is spoken of this often within the time after which it would be taken over.
constexpr double keeps_within_claim = 6, longest_between_keeps = 5;

// An item that was in hand when a second box ended is tried by itself: what is beside it must not
// go the same way.
constexpr int64_t deliveries_together = 2;

double seconds(milliseconds time) { return static_cast<double>(time.count()) / 1000; }

// The stream's group is gone: the server was emptied, or came back without what it had.
bool is_missing_group(const RedisRefused& refusal) {
  return refusal.problem().find("NOGROUP") != std::string::npos;
}

}  // namespace

std::string new_box_name() {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  uint32_t random = 0;
  if (::getrandom(&random, sizeof random, 0) != static_cast<ssize_t>(sizeof random))
    throw_errno("getrandom", "draw a name", errno);
  return fmt::format("{}-{:08x}", slug(host.data(), 24), random);
}

RedisQueue::RedisQueue(RedisAddress address, RedisQueueOptions options, RedisTimeouts timeouts)
    : options_(std::move(options)),
      client_(std::move(address), timeouts),
      stream_(client_, options_.name),
      ledger_(options_.attempts) {
  client_.connect_within(options_.patience);
  online([&] { state_ = stream_.beat(options_.box, workers_); });
}

RedisQueue::~RedisQueue() {
  try {
    release();
  } catch (const std::exception&) {
    // Other boxes take it over a little later.
  }
}

// Does something with the server, and first, on a new connection, what it has to know. False if
// there is no server to be had just now.
template <typename Do>
bool RedisQueue::online(Do what) {
  try {
    client_.connect();
    if (connection_ != client_.connections()) {
      welcome();
      connection_ = client_.connections();
      if (std::exchange(out_, false)) options_.say(client_.address().shown() + " is back");
    }
    what();
    return true;
  } catch (const RedisUnavailable& error) {
    outage(error.problem());
  } catch (const RedisRefused& refusal) {
    if (!is_missing_group(refusal)) throw;
    connection_ = 0;
  }
  return false;
}

// What became of items is told before anything else, so that nobody takes them over. Entries that
// the server gave us in an answer that never arrived are asked for again.
void RedisQueue::welcome() {
  stream_.make_group();
  for (; !outbox_.empty(); outbox_.pop_front()) {
    const Told& told = outbox_.front();
    stream_.settle(told.run_key, told.id, told.entries, told.result);
  }
  keep();
  accept(stream_.held(options_.box));
}

void RedisQueue::outage(const std::string& why) {
  if (std::exchange(out_, true)) return;
  options_.say(fmt::format("{}: {}; going on with what is in hand until it is back",
                           client_.address().shown(), why));
}

// A server that was down must first hear again from those whose items it counts as left alone.
bool RedisQueue::may_take_over() const {
  return std::chrono::steady_clock::now() - client_.server_up() >= options_.claim_after;
}

// True if anything came, be it only to find that it is done already.
bool RedisQueue::fetch(int64_t count) {
  if (clock_.seconds() < next_read_) return false;
  bool came = false;
  const bool asked = online([&] {
    if (state_.entries <= state_.handed_out) state_ = stream_.beat(options_.box, workers_);
    auto some = stream_.take_over(
        options_.box, may_take_over() ? std::optional(options_.claim_after) : std::nullopt, count);
    const int64_t wanted = count - std::ssize(some);
    came = !some.empty();
    accept(std::move(some));
    if (wanted <= 0) return;
    auto fresh = stream_.read(options_.box, wanted);
    state_.handed_out += std::ssize(fresh);
    came = came || !fresh.empty();
    accept(std::move(fresh));
  });
  flush();
  saw_empty_ = asked && !came;
  if (came)
    idle_ = Stopwatch();
  else
    next_read_ = clock_.seconds() + seconds_between_reads;
  return came;
}

void RedisQueue::accept(std::vector<Delivery> deliveries) {
  for (const auto& delivery : deliveries) unread_[delivery.entry] = delivery.deliveries;
  std::vector<Held*> taken_over;
  for (const auto& delivery : deliveries) {
    if (!known(delivery)) {
      HeldPtr held = held_from(delivery);
      Held* raw = held.get();
      held_[&raw->item] = std::move(held);
      waiting_.push_back(raw);
      if (!delivery.from.empty() || raw->run->done_before(raw->item.id)) taken_over.push_back(raw);
    }
    unread_.erase(delivery.entry);
  }
  check_taken_over(taken_over);
  give_up_worn();
}

// The same entry again, or the same item under another one.
bool RedisQueue::known(const Delivery& delivery) {
  const auto has = [&](const auto& entries) {
    return std::ranges::find(entries, delivery.entry) != entries.end();
  };
  if (std::ranges::any_of(outbox_, [&](const Told& told) { return has(told.entries); }))
    return true;
  for (auto& [item, held] : held_) {
    if (has(held->entries)) return true;
    if (item->id != delivery.id || held->run_key != delivery.run) continue;
    held->entries.push_back(delivery.entry);
    return true;
  }
  return false;
}

RedisQueue::HeldPtr RedisQueue::held_from(const Delivery& delivery) {
  auto held = std::make_unique<Held>();
  held->run = &run_of(delivery.target);
  try {
    const Json json = Json::parse(delivery.item);
    held->item = item_from_json(json);
    held->tries_before = json.at("attempts");
  } catch (const Json::exception&) {
    throw EnvironmentError("the queue", "holds an entry that no backlot wrote",
                           "give backlot a --queue of its own");
  }
  options_.find_model(held->item);
  held->run_key = delivery.run;
  held->group = delivery.target + batch_key(held->item);
  held->entries.push_back(delivery.entry);
  held->deliveries = delivery.deliveries;
  held->alone = delivery.deliveries > deliveries_together;
  return held;
}

RedisRun& RedisQueue::run_of(const std::string& target) {
  auto& run = runs_[target];
  if (!run)
    run = std::make_unique<RedisRun>(queued_run_from_text(target), options_.box + ".",
                                     options_.output);
  return *run;
}

// A box that died may have made them before it did; then only the news of it was lost.
void RedisQueue::check_taken_over(const std::vector<Held*>& taken_over) {
  std::map<RedisRun*, std::vector<const Item*>> by_run;
  for (const Held* held : taken_over) by_run[held->run].push_back(&held->item);
  for (const auto& [run, items] : by_run) {
    const auto records = run->find_done(items);
    for (const Item* item : items) {
      const auto done = std::ranges::find(records, item->id, &Record::id);
      if (done != records.end()) finish(held_of(*item), *done);
    }
  }
}

void RedisQueue::give_up_worn() {
  std::vector<Held*> worn;
  for (Held* held : waiting_)
    if (held->deliveries > options_.attempts) worn.push_back(held);
  for (Held* held : worn) {
    const std::string reason =
        fmt::format("{} box(es) or workers ended with it in hand", held->deliveries - 1);
    options_.say(fmt::format("{} is given up: {}", held->item.output, reason));
    fail(*held, reason, "");
  }
}

RedisQueue::HeldPtr RedisQueue::fail(Held& held, const std::string& reason,
                                     const std::string& device) {
  Attempt attempt;
  attempt.started = utc_now();
  attempt.device = device;
  attempt.dtype = held.run->target()->dtype;
  attempt.quantization = held.run->target()->quantization;
  const Record record = held.run->record_failed(held.item, reason, attempt,
                                                std::max<int64_t>(tries_so_far(held.item) - 1, 0));
  return finish(held, record);
}

RedisQueue::HeldPtr RedisQueue::finish(Held& held, const Record& record) {
  BoxResult result;
  result.record = record;
  result.box = options_.box;
  result.elsewhere = held.run->elsewhere();
  outbox_.push_back({held.run_key, held.item.id, to_text(result), held.entries});
  ledger_.forget(held.item.id);
  std::erase(waiting_, &held);
  auto node = held_.extract(&held.item);
  idle_ = Stopwatch();
  return std::move(node.mapped());
}

void RedisQueue::settled(const Item& item, const Record& record) {
  if (!held_.contains(&item)) return;
  finish(held_of(item), record);
  flush();
}

void RedisQueue::give_back(const Item& item) {
  if (!held_.contains(&item)) return;
  Held& held = held_of(item);
  if (std::exchange(held.in_hand, false)) waiting_.push_front(&held);
}

std::vector<GivenUp> RedisQueue::lost(const std::vector<const Item*>& items, const Loss& loss) {
  graveyard_.clear();
  auto given_up = ledger_.lost(items, loss);
  // Pushed to the front one by one: the last first keeps them in order.
  for (auto item = items.rbegin(); item != items.rend(); ++item) {
    ++held_of(**item).losses;
    give_back(**item);
  }
  for (const auto& [item, reason] : given_up)
    graveyard_.push_back(fail(held_of(*item), reason, loss.device));
  flush();
  return given_up;
}

RedisQueue::Held& RedisQueue::held_of(const Item& item) { return *held_.at(&item); }

int64_t RedisQueue::tries_so_far(const Item& item) const {
  const auto found = held_.find(&item);
  if (found == held_.end()) return 0;
  const Held& held = *found->second;
  return held.tries_before + held.deliveries - 1 + held.losses;
}

bool RedisQueue::finished() {
  if (!options_.idle_exit || !held_.empty()) return false;
  if (*options_.idle_exit <= 0) return saw_empty_ && outbox_.empty();
  return idle_.seconds() >= *options_.idle_exit;
}

void RedisQueue::tick() {
  flush();
  if (since_keep_.seconds() >=
      std::min(seconds(options_.claim_after) / keeps_within_claim, longest_between_keeps))
    online([&] { keep(); });
  if (since_beat_.seconds() >= seconds_between_beats) {
    since_beat_ = Stopwatch();
    online([&] { state_ = stream_.beat(options_.box, workers_); });
  }
}

void RedisQueue::flush() {
  while (!outbox_.empty()) {
    const Told told = outbox_.front();
    const bool sent =
        online([&] { stream_.settle(told.run_key, told.id, told.entries, told.result); });
    if (!sent) return;
    // On a new connection all was told before.
    if (!outbox_.empty() && outbox_.front().id == told.id) outbox_.pop_front();
  }
}

void RedisQueue::keep() {
  since_keep_ = Stopwatch();
  std::vector<std::string> entries;
  for (const auto& one : held_)
    entries.insert(entries.end(), one.second->entries.begin(), one.second->entries.end());
  if (entries.empty()) return;
  for (const auto& entry : stream_.keep(options_.box, entries)) drop(entry);
}

// Another box has it by now, or it was taken off the queue. What a worker makes already it may as
// well end.
void RedisQueue::drop(const std::string& entry) {
  for (auto& one : held_) {
    Held& held = *one.second;
    if (std::erase(held.entries, entry) == 0) continue;
    if (!held.entries.empty() || held.in_hand) return;
    std::erase(waiting_, &held);
    held_.erase(&held.item);
    return;
  }
}

// Gives back what no worker has, so that another box gets it at once.
void RedisQueue::give_back_waiting() {
  for (Held* held : std::exchange(waiting_, {})) {
    for (const auto& entry : held->entries) unread_[entry] = held->deliveries + held->losses;
    held_.erase(&held->item);
  }
  online([&] {
    for (const auto& [entry, deliveries] : unread_)
      stream_.give_back(options_.box, entry, deliveries - 1);
    unread_.clear();
  });
}

void RedisQueue::release() {
  flush();
  for (auto& one : held_)
    if (std::exchange(one.second->in_hand, false)) waiting_.push_back(one.second.get());
  give_back_waiting();
  if (outbox_.empty()) online([&] { stream_.leave(options_.box); });
}

}  // namespace backlot
