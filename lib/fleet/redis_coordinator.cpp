#include "fleet/redis_coordinator.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "base/error.h"
#include "base/sha256.h"
#include "fleet/batching.h"
#include "run/output_files.h"

namespace backlot {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds wait_for_results{250};
constexpr double seconds_between_looks = 1, seconds_between_compares = 30;
constexpr size_t items_at_once = 200;

// "NAME:VALUE" of what INFO says.
std::string info_value(const std::string& info, const std::string& name) {
  const size_t at = info.find("\n" + name + ":");
  if (at == std::string::npos) return "";
  const size_t from = at + name.size() + 2;
  return info.substr(from, info.find_first_of("\r\n", from) - from);
}

}  // namespace

RedisCoordinator::RedisCoordinator(RedisAddress address, const Plan& plan, uint64_t base_seed,
                                   RunFolder& folder, CoordinatorOptions options,
                                   FleetProgress& progress, RedisTimeouts timeouts)
    : plan_(plan),
      folder_(folder),
      root_(folder.path()),
      options_(std::move(options)),
      progress_(progress),
      client_(std::move(address), timeouts),
      stream_(client_, options_.name),
      run_(run_key_of(folder.path().string(), base_seed)) {
  QueuedRun queued;
  queued.name = plan.name;
  queued.folder = folder.path().string();
  queued.base_seed = base_seed;
  queued.output = plan.output;
  queued.dtype = options_.dtype;
  queued.quantization = options_.quantization;
  queued.batch_size = options_.batch_size;
  queued.allow_lower_precision = options_.allow_lower_precision;
  queued.checkpoint_steps = options_.checkpoint_steps;
  target_ = to_text(queued);
  for (const Item& item : plan.items) items_[item.id] = &item;
  for (const Item* item : folder.pending()) left_.insert(item->id);
}

void RedisCoordinator::forget_run(uint64_t base_seed) {
  const std::string old = run_key_of(folder_.path().string(), base_seed);
  if (old == run_) return;
  client_.connect_within(options_.patience);
  stream_.make_group();
  stream_.remove_run(old);
}

void RedisCoordinator::put_on() {
  client_.connect_within(options_.patience);
  begin();
}

void RedisCoordinator::run(const StopSignal& stop) {
  client_.connect_within(options_.patience);
  warn_of_settings();
  while (left_.size() > away_.size()) {
    if (stop.requested()) throw Interrupted();
    try {
      client_.connect();
      if (connection_ != client_.connections()) {
        begin();
        connection_ = client_.connections();
        if (std::exchange(out_, false)) progress_.warning(client_.address().shown() + " is back");
      }
      follow();
    } catch (const RedisUnavailable& error) {
      if (!std::exchange(out_, true))
        progress_.warning(fmt::format("{}: {}; boxes go on with what they have in hand",
                                      client_.address().shown(), error.problem()));
      std::this_thread::sleep_for(wait_for_results);
      progress_.tick();
    } catch (const RedisRefused& refusal) {
      // Emptied under our eyes: begin anew.
      if (refusal.problem().find("NOGROUP") == std::string::npos) throw;
      connection_ = 0;
    }
  }
  // Whatever a server that is away still has of this run, the next coordinator clears up.
  try {
    stream_.remove_run(run_);
  } catch (const RedisUnavailable&) {
  }
}

// On every new connection: the server may have lost the last second or all that it had.
void RedisCoordinator::begin() {
  stream_.make_group();
  if (!std::exchange(begun_, true)) {
    known_ = stream_.enter_run(run_, target_);
    // Failures of earlier runs among them: those items are tried again. What was done is proven
    // from the disk.
    stream_.drop_results(run_);
  } else {
    known_ = true;
    stream_.enter_run(run_, target_);
    // A server that lost its last second counts on from an earlier id.
    last_result_ = "0";
  }
  compare();
}

void RedisCoordinator::warn_of_settings() {
  const std::string info = client_.command({"INFO", "everything"}).text();
  if (info_value(info, "aof_enabled") == "0")
    progress_.warning(client_.address().shown() +
                      " keeps no append-only file: if it restarts, items are put on the queue "
                      "again and some are made twice; 'appendonly yes' in redis.conf mends that");
  const std::string policy = info_value(info, "maxmemory_policy");
  if (policy.starts_with("allkeys") && info_value(info, "maxmemory") != "0")
    progress_.warning(
        fmt::format("{} may throw the queue away when memory is short "
                    "(maxmemory-policy {}); set it to noeviction",
                    client_.address().shown(), policy));
}

void RedisCoordinator::follow() {
  // A result and the item's leaving the queue are one step. So fewer on the queue than are left,
  // after all results until then were read, means that some were lost.
  const bool due = since_look_.seconds() >= seconds_between_looks;
  const int64_t queued = due ? stream_.count_queued(run_) : -1;
  read_results(wait_for_results);
  look_for_unseen();
  if (!due) return;
  since_look_ = Stopwatch();
  const auto expected = std::ssize(left_) - std::ssize(away_) - std::ssize(unseen_);
  if (queued < expected || since_compare_.seconds() >= seconds_between_compares) compare();
  look_at_boxes();
  progress_.tick();
}

// Puts on the queue what is neither there nor settled.
void RedisCoordinator::compare() {
  since_compare_ = Stopwatch();
  const auto queued = stream_.queued(run_);
  read_results(milliseconds(0));
  if (known_) adopt_journals(queued);
  known_ = true;
  std::unordered_set<std::string> awaited = away_;
  for (const auto& one : unseen_) awaited.insert(one.result.record.id);
  std::vector<const Item*> missing, waiting;
  for (const Item* item : folder_.pending())
    if (left_.contains(item->id) && !awaited.contains(item->id))
      (queued.contains(item->id) ? waiting : missing).push_back(item);
  add(missing, WorkStream::Add::missing);
  // An earlier coordinator may have put them on under other settings.
  if (!std::exchange(replaced_, true)) add(waiting, WorkStream::Add::replace);
}

// What boxes made while nobody followed, or whose news was lost.
void RedisCoordinator::adopt_journals(const std::unordered_set<std::string>& queued) {
  const auto unaccounted = [&](const std::string& id) {
    return left_.contains(id) && !queued.contains(id);
  };
  if (std::ranges::none_of(left_, unaccounted)) return;
  for (const Record& record : read_journals(root_).records)
    if (record.status == ItemStatus::done && unaccounted(record.id) && file_is_there(record.file))
      settle(record);
}

// In the order in which a single run would make them, so that neighbours go together.
void RedisCoordinator::add(const std::vector<const Item*>& items, WorkStream::Add what) {
  std::vector<WorkStream::QueuedItem> some;
  const auto send = [&] {
    if (!some.empty()) stream_.add(run_, target_, some, what);
    some.clear();
  };
  for (const auto& group : group_items(items))
    for (const auto& batch : group.batches)
      for (const Item* item : batch.items) {
        some.push_back({item->id, to_text(*item, folder_.attempts(*item))});
        if (some.size() == items_at_once) send();
      }
  send();
}

void RedisCoordinator::read_results(milliseconds wait) {
  while (true) {
    const auto texts = stream_.results(run_, last_result_, wait);
    for (const auto& text : texts)
      if (auto result = box_result_from_text(text)) take_in(std::move(*result));
    if (texts.empty()) return;
    wait = milliseconds(0);
  }
}

void RedisCoordinator::take_in(BoxResult result) {
  const Record& record = result.record;
  if (!items_.contains(record.id)) return;
  since_box_ = Stopwatch();
  if (made_.contains(record.id)) return take_in_again(record);
  if (record.status == ItemStatus::failed) {
    if (left_.contains(record.id)) settle(record);
  } else if (!result.elsewhere.empty()) {
    put_elsewhere(result);
  } else if (file_is_there(record.file)) {
    settle(record);
  } else {
    unseen_.push_back({std::move(result), {}});
  }
}

// Two boxes made the same item. They may differ in the last bits, and the file is whichever was
// renamed into place last.
void RedisCoordinator::take_in_again(const Record& record) {
  if (record.status != ItemStatus::done || made_[record.id] == record.file.sha256) return;
  if (!file_is_there(record.file)) return;
  if (sha256_file(root_.path() / record.file.path) != record.file.sha256) return;
  made_[record.id] = record.file.sha256;
  folder_.adopt(record);
}

bool RedisCoordinator::file_is_there(const OutputFile& file) const {
  return output_bytes(root_, file.path) == file.bytes;
}

void RedisCoordinator::look_for_unseen() {
  for (auto& one : std::exchange(unseen_, {})) {
    if (file_is_there(one.result.record.file))
      settle(one.result.record);
    else if (one.since.seconds() < options_.file_grace)
      unseen_.push_back(std::move(one));
    else
      put_elsewhere(one.result);
  }
}

void RedisCoordinator::settle(const Record& record) {
  const Item& item = *items_.at(record.id);
  const bool first = left_.erase(record.id) > 0;
  away_.erase(record.id);
  folder_.adopt(record);
  if (record.status == ItemStatus::done) made_[record.id] = record.file.sha256;
  if (record.status == ItemStatus::done)
    progress_.item_done(item, record);
  else if (first)
    progress_.item_failed(item, record.error);
}

void RedisCoordinator::put_elsewhere(const BoxResult& result) {
  if (!left_.contains(result.record.id) || !away_.insert(result.record.id).second) return;
  ++elsewhere_[result.box + ":" +
               (result.elsewhere.empty() ? plan_.run_folder.string() : result.elsewhere)];
}

void RedisCoordinator::look_at_boxes() {
  if (stream_.state().boxes > 0) {
    since_box_ = Stopwatch();
    said_silent_ = false;
  }
  if (said_silent_ || since_box_.seconds() < options_.silent_after) return;
  said_silent_ = true;
  progress_.warning(fmt::format("no box works for the queue '{}'; start one with: {}",
                                options_.name, options_.worker_command));
}

}  // namespace backlot
