// Puts a plan's pending items on a Redis stream and follows until each is settled. Boxes do the
// work (RedisQueue); the truth is the run folder, and the queue is held against it again and again.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/stop.h"
#include "base/time.h"
#include "fleet/fleet_progress.h"
#include "fleet/redis_wire.h"
#include "redis/work_stream.h"
#include "run/run_folder.h"

namespace backlot {

struct CoordinatorOptions {
  std::string name = "backlot";  // what the queue's keys begin with
  std::string dtype = "auto", quantization = "none";
  int64_t batch_size = 0;
  bool allow_lower_precision = false;
  std::optional<int64_t> checkpoint_steps = {};
  std::string worker_command;                 // how a box is started, for a message
  std::chrono::milliseconds patience{10000};  // to wait for the server at the start
  double silent_after = 10;                   // seconds without boxes until a word is said of it
  // A box's output may become visible here a while after it was written (network mounts).
  double file_grace = 60;  // seconds
};

class RedisCoordinator {
 public:
  // The references must outlive it. `base_seed` is the run folder's.
  RedisCoordinator(RedisAddress address, const Plan& plan, uint64_t base_seed, RunFolder& folder,
                   CoordinatorOptions options, FleetProgress& progress,
                   RedisTimeouts timeouts = {});

  // A run that started over has nothing to do with what it put on the queue before.
  void forget_run(uint64_t base_seed);

  // Returns when every item is settled. Throws Interrupted (the queue stays as it is, and boxes go
  // on), RedisUnavailable if no server answers at the start, RedisRefused.
  void run(const StopSignal& stop);

  // Does its first part alone: what is missing is on the queue then.
  void put_on();

  // Items that were made into run folders of other machines: by box and folder. They are not done
  // here until they are brought together.
  const std::map<std::string, int64_t>& elsewhere() const { return elsewhere_; }

 private:
  struct Unseen {
    BoxResult result;
    Stopwatch since;
  };

  void begin();
  void warn_of_settings();
  void follow();
  void compare();
  void adopt_journals(const std::unordered_set<std::string>& queued);
  void add(const std::vector<const Item*>& items, WorkStream::Add what);
  void read_results(std::chrono::milliseconds wait);
  void take_in(BoxResult result);
  void take_in_again(const Record& record);
  void look_for_unseen();
  void settle(const Record& record);
  void put_elsewhere(const BoxResult& result);
  void look_at_boxes();
  bool file_is_there(const OutputFile& file) const;

  const Plan& plan_;
  RunFolder& folder_;
  RootedFolder root_;
  CoordinatorOptions options_;
  FleetProgress& progress_;
  RedisClient client_;
  WorkStream stream_;
  std::string run_, target_;
  int64_t connection_ = 0;
  bool begun_ = false, known_ = false, replaced_ = false, out_ = false, said_silent_ = false;
  std::string last_result_ = "0";
  std::unordered_map<std::string, const Item*> items_;  // by id
  std::unordered_set<std::string> left_;                // ids of items that are not settled
  std::unordered_map<std::string, std::string> made_;   // id to SHA-256, of what is settled as done
  std::vector<Unseen> unseen_;
  std::unordered_set<std::string> away_;  // ids of items that are elsewhere
  std::map<std::string, int64_t> elsewhere_;
  Stopwatch since_look_, since_compare_, since_box_;
};

}  // namespace backlot
