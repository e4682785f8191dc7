// A box's share of the work on a Redis stream: taken in small portions, kept while it is in hand,
// acknowledged once its journal line is on disk, and taken over from boxes that died. docs/redis.md
// says what that promises.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/time.h"
#include "fleet/loss_ledger.h"
#include "fleet/redis_runs.h"
#include "fleet/work_queue.h"
#include "redis/work_stream.h"

namespace backlot {

struct RedisQueueOptions {
  std::string name = "backlot";  // what the queue's keys begin with
  std::string box;               // this box's name, unique among all that ever work for the queue
  std::chrono::milliseconds claim_after{30000};  // without a word from a box that holds an item
  int64_t attempts = 3;
  std::optional<double> idle_exit;  // seconds without work before it is finished; none: never
  fs::path output;  // where outputs go; empty: into the folder of each run, which is within reach
  // Finds the item's model on this box. Throws LoadError.
  std::function<void(Item&)> find_model = [](Item&) {};
  std::function<void(const std::string&)> say = [](const std::string&) {};
  std::chrono::milliseconds patience{10000};  // to wait for the server at the start
};

// "HOSTNAME-" and eight random digits.
std::string new_box_name();

class RedisQueue : public WorkQueue {
 public:
  // Throws RedisUnavailable if no server answers in time, RedisRefused. Later on it waits for as
  // long as it takes.
  RedisQueue(RedisAddress address, RedisQueueOptions options, RedisTimeouts timeouts = {});
  ~RedisQueue() override;  // what is left in hand is other boxes' at once

  // Throws EnvironmentError or LoadError if an item's run folder or model is not within reach.
  std::optional<Work> take(const WorkerOffer& offer) override;
  void settled(const Item& item, const Record& record) override;
  void give_back(const Item& item) override;
  std::vector<GivenUp> lost(const std::vector<const Item*>& items, const Loss& loss) override;
  bool finished() override;
  int64_t tries_so_far(const Item& item) const override;
  void tick() override;

  // Items of which this box still has to tell that they are settled.
  size_t untold() const { return outbox_.size(); }

 private:
  struct Held {
    Item item;
    std::string run_key;
    RedisRun* run = nullptr;
    std::string group;                 // of run and batch key
    std::vector<std::string> entries;  // mostly one
    int64_t tries_before = 0;          // in earlier runs
    int64_t deliveries = 1, losses = 0;
    bool alone = false;    // it may be what ended another box
    bool in_hand = false;  // of a worker
  };
  struct Told {
    std::string run_key, id, result;
    std::vector<std::string> entries;
  };
  using HeldPtr = std::unique_ptr<Held>;

  template <typename Do>
  bool online(Do what);
  void welcome();
  void outage(const std::string& why);
  bool suspect(const Held& held) const;
  Held* choose(const WorkerOffer& offer);
  std::vector<Held*> batch_for(Held& first, const WorkerOffer& offer);
  double left() const;
  int64_t share_of(int64_t most) const;
  bool fetch(int64_t count);
  void accept(std::vector<Delivery> deliveries);
  HeldPtr held_from(const Delivery& delivery);
  bool known(const Delivery& delivery);
  RedisRun& run_of(const std::string& target);
  void check_taken_over(const std::vector<Held*>& taken_over);
  void give_up_worn();
  HeldPtr fail(Held& held, const std::string& reason, const std::string& device);
  HeldPtr finish(Held& held, const Record& record);
  void keep();
  void drop(const std::string& entry);
  void flush();
  void give_back_waiting();
  void release();
  Held& held_of(const Item& item);
  bool may_take_over() const;

  RedisQueueOptions options_;
  RedisClient client_;
  WorkStream stream_;
  LossLedger ledger_;
  int64_t connection_ = 0;                                 // that welcome() was done for
  bool out_ = false;                                       // an outage was spoken of
  std::map<std::string, std::unique_ptr<RedisRun>> runs_;  // by target
  std::unordered_map<const Item*, HeldPtr> held_;
  std::vector<HeldPtr> graveyard_;         // valid until the next call of lost()
  std::deque<Held*> waiting_;              // here, but in no worker's hand
  std::map<std::string, int64_t> unread_;  // deliveries of entries that are not in held_ yet
  std::deque<Told> outbox_;
  WorkStream::State state_;
  int64_t workers_ = 1;
  bool saw_empty_ = false;
  Stopwatch idle_, since_keep_, since_beat_;
  double next_read_ = 0;  // on clock_: an empty queue is not asked at every turn
  Stopwatch clock_;
};

}  // namespace backlot
