// The queue as it lies in Redis. Every change that touches more than one key is one script, so that
// a kill or a lost connection at any instant leaves the keys agreeing with one another.
// docs/redis.md lists the keys.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "redis/client.h"

namespace backlot {

// One entry of the stream, handed to a box.
struct Delivery {
  std::string entry;  // its id in the stream
  std::string run, id, item, target;
  std::string from;        // the box it was taken over from; "" if it is new or was given back
  int64_t deliveries = 1;  // to any box, this one included
};

// All throw as RedisClient::command does.
class WorkStream {
 public:
  WorkStream(RedisClient& client, const std::string& name);

  RedisClient& client() { return client_; }

  // Makes the stream's group of boxes unless it is there.
  void make_group();

  // --- by a coordinator

  struct QueuedItem {
    std::string id, item;
  };

  // True if the run was known.
  bool enter_run(const std::string& run, const std::string& about);
  enum class Add { missing, replace };
  // `missing`: puts on what is not on the stream. Either way, what waits there under other settings
  // is replaced. Returns how many were put on.
  int64_t add(const std::string& run, const std::string& target, std::span<const QueuedItem> items,
              Add what = Add::missing);
  std::unordered_set<std::string> queued(const std::string& run);  // ids of items
  int64_t count_queued(const std::string& run);
  // What boxes said after `last`, which it moves on; waits so long for the first. What was read
  // before is removed.
  std::vector<std::string> results(const std::string& run, std::string& last,
                                   std::chrono::milliseconds wait);
  void drop_results(const std::string& run);
  // Takes the run's entries off the stream and forgets the run.
  void remove_run(const std::string& run);

  // --- by a box

  std::vector<Delivery> read(const std::string& box, int64_t count);
  // What was given back, and, if `min_idle` is given, what a box has not spoken of for so long.
  std::vector<Delivery> take_over(const std::string& box,
                                  std::optional<std::chrono::milliseconds> min_idle, int64_t count);
  // All that the stream counts as handed to the box.
  std::vector<Delivery> held(const std::string& box);
  // Says that the box still has these. Returns those that are another's by now, or gone.
  std::vector<std::string> keep(const std::string& box, std::span<const std::string> entries);
  // Removes the item, and tells the run's coordinator.
  void settle(const std::string& run, const std::string& id, std::span<const std::string> entries,
              const std::string& result);
  // Offers the entry to all boxes at once, as if it had been handed out `deliveries` times.
  void give_back(const std::string& box, const std::string& entry, int64_t deliveries);
  void leave(const std::string& box);

  // --- by both

  struct State {
    int64_t boxes = 0, workers = 0;  // that were heard of lately
    int64_t entries = 0;             // on the stream
    int64_t handed_out = 0;          // of those
  };
  State state();
  // As state(), and the box is heard of.
  State beat(const std::string& box, int64_t workers);

 private:
  std::string run_key(const char* kind, const std::string& run) const;
  RedisReply script(const char* text, std::vector<std::string> keys,
                    std::vector<std::string> arguments);

  RedisClient& client_;
  std::string name_;
  std::string items_, runs_, seen_, workers_;
};

}  // namespace backlot
