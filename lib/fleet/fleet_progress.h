// What a fleet tells whoever watches it. Called from one thread: the supervisor's.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fleet/devices.h"
#include "fleet/run_progress.h"
#include "run/journal.h"
#include "spec/item.h"

namespace backlot {

enum class WorkerState {
  starting,   // the process is on its way up
  idle,       // ready, with nothing in hand
  loading,    // a model's weights
  working,    // on a batch
  ended,      // gone; another may start in its place
  set_aside,  // ended too often: nothing is started in its place any more
};

// "starting", "idle", "loading", "working", "ended", "set aside"
std::string_view worker_state_name(WorkerState state);

// A worker as it is now.
struct WorkerView {
  std::string name;    // "cpu-0": unique in the fleet, and the same for those started in its place
  std::string device;  // "cpu", "cuda:1"
  WorkerState state = WorkerState::starting;
  std::string stage;                 // load, text_encode, denoise, decode; "" between batches
  int64_t step = 0, steps = 0;       // of the stage
  int64_t batch = 0;                 // items that the steps are of
  std::vector<const Item*> in_hand;  // valid during the call
  int64_t done = 0, failed = 0;      // items, by all processes of this name
  int64_t restarts = 0;              // processes started in place of one that ended
  std::string reason;                // ended, set aside: why
  uint64_t resident_bytes = 0;       // host memory of the process
  uint64_t peak_resident_bytes = 0;  // the most it was
  std::optional<uint64_t> device_memory_bytes, device_free_bytes;  // of the device, all of it
  std::optional<uint64_t> peak_device_bytes;                       // the most of it seen in use
  std::optional<double> temperature_c, utilisation;  // of the device; utilisation from 0 to 1
};

// What a monitor read of the worker's device.
void note_reading(WorkerView& worker, const Device& device);

// The run as a fleet knows it when it starts. A worker of a shared queue doesn't know how much
// there is to do.
struct FleetRun {
  std::string name;
  std::optional<int64_t> items;  // in the plan
  int64_t reused = 0;            // done by earlier runs, proven from the disk
};

class FleetProgress {
 public:
  virtual ~FleetProgress() = default;

  virtual void begin(const FleetRun&) {}
  virtual void end(const RunTotals&) {}

  // One of them changed: a new state, stage or step, or a new reading of memory or temperature.
  virtual void worker_changed(const WorkerView&) {}

  // An item waits for a worker: at the start every item that is to be made, in the plan's order.
  // Said again of an item that comes back (after item_retried, or given back untouched).
  virtual void item_queued(const Item&) {}

  // In a worker's hands.
  virtual void item_started(const Item&, const WorkerView&) {}

  // How far it is: 0, 25, 50, 75 or 100. A number that fell means that it was begun again.
  // `preview` is a small PNG as a data: URI, or "".
  virtual void item_progress(const Item&, int /*percent*/, std::string_view /*preview*/) {}

  // Settled. What came from the cache has record.attempt.cached set, is said by cache_looked_up()
  // as well, and was not queued before.
  virtual void item_done(const Item&, const Record&) {}
  virtual void item_failed(const Item&, const std::string& /*error*/) {}

  // Lost with its worker, or given back because its worker drains; it is tried again.
  virtual void item_retried(const Item&, const std::string& /*why*/) {}

  // Every look into the result cache.
  virtual void cache_looked_up(const Item&, bool /*hit*/) {}

  virtual void warning(const std::string&) {}
  virtual void detail(const std::string&) {}  // for those who asked for more

  // A DeviceMonitor's reading, every second or so.
  virtual void devices_read(const std::vector<Device>&) {}

  // What goes on elsewhere, for a person: "job 12: 3 running".
  virtual void note(const std::string&) {}

  // At least once a second, whatever happens: for what shows passing time.
  virtual void tick() {}
};

// Tells several listeners, in their order. They must outlive it.
class FleetProgressTee : public FleetProgress {
 public:
  FleetProgressTee() = default;
  FleetProgressTee(std::initializer_list<FleetProgress*> listeners) : listeners_(listeners) {}
  void add(FleetProgress& listener) { listeners_.push_back(&listener); }

  void begin(const FleetRun& run) override {
    for (auto* to : listeners_) to->begin(run);
  }
  void end(const RunTotals& totals) override {
    for (auto* to : listeners_) to->end(totals);
  }
  void worker_changed(const WorkerView& worker) override {
    for (auto* to : listeners_) to->worker_changed(worker);
  }
  void item_queued(const Item& item) override {
    for (auto* to : listeners_) to->item_queued(item);
  }
  void item_started(const Item& item, const WorkerView& worker) override {
    for (auto* to : listeners_) to->item_started(item, worker);
  }
  void item_progress(const Item& item, int percent, std::string_view preview) override {
    for (auto* to : listeners_) to->item_progress(item, percent, preview);
  }
  void item_done(const Item& item, const Record& record) override {
    for (auto* to : listeners_) to->item_done(item, record);
  }
  void item_failed(const Item& item, const std::string& error) override {
    for (auto* to : listeners_) to->item_failed(item, error);
  }
  void item_retried(const Item& item, const std::string& why) override {
    for (auto* to : listeners_) to->item_retried(item, why);
  }
  void cache_looked_up(const Item& item, bool hit) override {
    for (auto* to : listeners_) to->cache_looked_up(item, hit);
  }
  void warning(const std::string& text) override {
    for (auto* to : listeners_) to->warning(text);
  }
  void detail(const std::string& text) override {
    for (auto* to : listeners_) to->detail(text);
  }
  void devices_read(const std::vector<Device>& devices) override {
    for (auto* to : listeners_) to->devices_read(devices);
  }
  void note(const std::string& text) override {
    for (auto* to : listeners_) to->note(text);
  }
  void tick() override {
    for (auto* to : listeners_) to->tick();
  }

 private:
  std::vector<FleetProgress*> listeners_;
};

}  // namespace backlot
