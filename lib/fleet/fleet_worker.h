// One worker of a fleet, over all the processes that it is in turn: what it has in hand, how far it
// is, and whether it still lives.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "fleet/device_monitor.h"
#include "fleet/fleet_progress.h"
#include "fleet/hang_watch.h"
#include "fleet/work_queue.h"
#include "fleet/worker_process.h"

namespace backlot {

// A worker's last words: why it can't go on.
struct WorkerFailure {
  std::string kind;  // storage, model, memory, device (fleet/worker.h)
  std::string where, what, mend;
};

class FleetWorker {
 public:
  // `command` and `inherited`: see WorkerProcess. The references must outlive it.
  FleetWorker(std::string name, std::string device, std::vector<std::string> command, int inherited,
              FleetProgress& progress, HangWatch& hangs);

  const std::string& name() const { return view_.name; }
  const WorkerView& view() const { return view_; }
  WorkerProcess* process() const { return process_.get(); }

  void start();  // throws EnvironmentError
  void set_aside(const std::string& reason);

  bool alive() const { return process_ != nullptr; }
  bool ready() const { return ready_; }                      // its engine is loaded
  bool free() const { return ready_ && !busy_ && alive(); }  // for the next batch
  bool empty_handed() const { return in_hand_.empty(); }
  const std::string& holds() const { return holds_; }
  double seconds_each() const;  // an item takes; 0: none made yet

  // Gives it a batch. It must be free.
  void hand(const Work& work, const WorkQueue& queue);

  // Reads what it says, tells the queue and the progress.
  void listen(WorkQueue& queue);

  // Whether it has been silent for longer than it may; why, if so.
  std::optional<std::string> hung() const;

  // Reads the process's memory, and takes over what was read of its device.
  void measure(const Device* device);

  struct End {
    std::vector<const Item*> in_hand;  // not settled, and not given back either
    Loss loss;
    std::optional<WorkerFailure> failure;
    bool was_ready = false;
  };
  // What became of a process that has ended: listens to its last words and reads the end of its
  // journal, so that nothing that is on disk is made again.
  std::optional<End> bury(WorkQueue& queue, const std::string& hung_reason);

  // Asks it to end what it can within the grace, and to give back the rest.
  void ask_to_stop();

  int ends_in_row = 0;    // of its own fault, since an item was last settled
  int starts_in_row = 0;  // that ended before it was ready, whatever ended them
  double restart_at = 0;  // on the supervisor's clock

 private:
  void take_in(const Json& message, WorkQueue& queue);
  void settle(const Json& line, WorkQueue& queue);
  void step(const Json& numbers);
  void retried(const Json& news);
  const Item* find(const std::string& id) const;  // in hand
  void returned(const Json& ids, WorkQueue& queue);
  void changed(WorkerState state);
  void list_in_hand();
  std::string doing() const;
  void tell_run(const Work& work);
  uint64_t journal_size() const;

  WorkerView view_;
  std::vector<std::string> command_;
  int inherited_;
  FleetProgress& progress_;
  HangWatch& hangs_;
  std::unique_ptr<WorkerProcess> process_;
  bool ready_ = false, busy_ = false, asked_ = false;
  std::shared_ptr<const RunTarget> run_;  // what the process was told last
  uint64_t journal_from_ = 0;             // where its part of the journal begins
  std::string holds_, batch_key_;
  std::unordered_map<std::string, const Item*> in_hand_;  // by id
  std::optional<WorkerFailure> failure_;
  uint64_t kills_before_ = 0;  // by the out-of-memory killer
  Stopwatch silence_, busy_since_;
  double busy_seconds_ = 0;
  int64_t made_ = 0;
};

}  // namespace backlot
