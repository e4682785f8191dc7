// Keeps a fleet of worker processes at work: one or several a device, on what a queue hands out.
// No LibTorch here: what ends a worker (a fault of the device, the driver, the kernel's
// out-of-memory killer) costs the items that it had in hand, and those are tried again.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/stop.h"
#include "base/time.h"
#include "fleet/device_monitor.h"
#include "fleet/fleet_progress.h"
#include "fleet/fleet_worker.h"
#include "fleet/hang_watch.h"
#include "fleet/work_queue.h"

namespace backlot {

struct FleetOptions {
  std::vector<std::string> devices;  // one worker each; several may share a device
  std::vector<std::string> command;  // starts a worker, but for --name, --device and --threads
  int threads = 0;                   // of each worker on the CPU; 0: they share what there is
  int inherited = -1;                // a descriptor that workers keep open, see WorkerProcess
  double hang_seconds = 900;         // silence that is never borne, see HangWatch
  // How many pictures like this fit together into what the device's memory leaves each worker.
  std::function<int64_t(const Item& item, const std::string& device, int64_t sharing)>
      most_together;
  // Bytes that one of the `sharing` workers of a device may take in all, as of now; nothing for no
  // limit.
  std::function<std::optional<uint64_t>(const std::string& device, int64_t sharing)> memory_limit;
};

// Not for several threads, and to be made in one that lives as long as the process (WorkerProcess).
class Supervisor {
 public:
  // Starts the workers; they load their engines meanwhile.
  Supervisor(FleetOptions options, FleetProgress& progress, const StopSignal& stop);
  ~Supervisor();  // ends them

  // Until the queue is finished. Workers stay, with their models, for the next call. Throws
  // Interrupted (what could be finished in time is, the rest is given back), EnvironmentError (disk
  // full, no device left that works), LoadError.
  void run(WorkQueue& queue);

  const std::vector<std::unique_ptr<FleetWorker>>& workers() const { return workers_; }

 private:
  void offer_work(WorkQueue& queue);
  WorkerOffer offer_of(const FleetWorker& worker) const;
  void wait_for_news() const;
  void listen(WorkQueue& queue);
  void end_hung();
  void bury_ended(WorkQueue& queue);
  void take_loss(FleetWorker& worker, const FleetWorker::End& end, WorkQueue& queue);
  void set_aside(FleetWorker& worker, int times, const std::string& last);
  void decide_on_restart(FleetWorker& worker, const FleetWorker::End& end);
  void restart_due();
  void tick(WorkQueue& queue);
  [[noreturn]] void give_up();
  void stop_all(WorkQueue& queue);
  void take_last(FleetWorker& worker, WorkQueue& queue);
  int64_t workers_on(const std::string& device) const;

  FleetOptions options_;
  FleetProgress& progress_;
  const StopSignal& stop_;
  HangWatch hangs_;
  std::vector<std::unique_ptr<FleetWorker>> workers_;
  std::map<const FleetWorker*, std::string> hung_;  // why it was killed
  std::optional<WorkerFailure> last_failure_;
  DeviceMonitor monitor_;
  Stopwatch clock_, since_tick_;
};

// "cpu-0", "cpu-1", "cuda1-0": unique, and the same at every start.
std::vector<std::string> worker_names(const std::vector<std::string>& devices);

}  // namespace backlot
