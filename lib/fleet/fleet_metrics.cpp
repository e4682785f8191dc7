#include "fleet/fleet_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>
#include <unordered_set>

#include "run/stage_seconds.h"

namespace backlot {
namespace {

using prometheus::Family;
using prometheus::MetricFamily;
using prometheus::Registry;
using Labels = std::map<std::string, std::string>;

Family<prometheus::Gauge>& gauge(Registry& in, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(in);
}

Family<prometheus::Counter>& counter(Registry& in, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(in);
}

Family<prometheus::Histogram>& histogram(Registry& in, const char* name, const char* help) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(in);
}

constexpr WorkerState worker_states[] = {WorkerState::starting, WorkerState::idle,
                                         WorkerState::loading,  WorkerState::working,
                                         WorkerState::ended,    WorkerState::set_aside};

double seconds_since_1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

// One run's numbers. Those of `books` are of all starts of the run, and metrics_text() has them
// too; those of `live` are of this fleet alone.
struct FleetMetrics::Run {
  explicit Run(const FleetRun& run) : name(run.name), planned(run.items), done(run.reused) {
    const Labels only_run = labels();
    started.Add(only_run).Set(seconds_since_1970());
    retries.Add(only_run);
    for (const char* result : {"hit", "miss"}) lookups.Add(labels({{"result", result}}));
    bytes.Add(only_run);
    attempts.Add(only_run);
    for (const Stage& stage : stages) seconds_of(stage);
  }

  Labels labels(Labels more = {}) const {
    more["run"] = name;
    return more;
  }
  prometheus::Histogram& seconds_of(const Stage& stage) {
    return seconds.Add(labels({{"stage", stage.name}}),
                       prometheus::Histogram::BucketBoundaries(stage_seconds_bounds.begin(),
                                                               stage_seconds_bounds.end()));
  }
  void count(const Record& record) {
    bytes.Add(labels()).Increment(static_cast<double>(record.file.bytes));
    for (const Stage& stage : stages) seconds_of(stage).Observe(record.attempt.*stage.seconds);
  }

  std::string name;
  std::optional<int64_t> planned;
  int64_t done = 0, failed = 0;                   // of all starts
  int64_t queued = 0, made_here = 0, cached = 0;  // of this fleet
  std::unordered_set<std::string> in_hand;        // ids
  std::map<std::string, int64_t> restarts_of;     // by worker
  std::map<std::string, uint64_t> peak_of;        // by device: bytes in use
  std::map<std::string, WorkerView> workers;      // by name; with nothing in hand

  Registry books;
  Family<prometheus::Gauge>& items =
      gauge(books, "backlot_items", "Items of the run's plan by status.");
  Family<prometheus::Counter>& attempts = counter(
      books, "backlot_attempts_total", "Tries to make an item, over all starts of the run.");
  Family<prometheus::Counter>& bytes =
      counter(books, "backlot_output_bytes_total", "Bytes of finished outputs.");
  Family<prometheus::Histogram>& seconds =
      histogram(books, "backlot_item_seconds", "Seconds a finished item took, by stage.");

  Registry live;
  Family<prometheus::Gauge>& started =
      gauge(live, "backlot_run_start_time_seconds", "When this start of the run began, Unix time.");
  Family<prometheus::Gauge>& states = gauge(
      live, "backlot_fleet_items", "Items that this start of the run has dealt with, by state.");
  Family<prometheus::Gauge>& queue =
      gauge(live, "backlot_queue_length", "Items that wait for a worker.");
  Family<prometheus::Counter>& retries =
      counter(live, "backlot_retries_total", "Items that were begun again.");
  Family<prometheus::Counter>& lookups =
      counter(live, "backlot_cache_lookups_total", "Looks into the result cache, by result.");
  Family<prometheus::Gauge>& worker_state =
      gauge(live, "backlot_worker_state", "1 for the state that the worker is in, else 0.");
  Family<prometheus::Counter>& restarts = counter(live, "backlot_worker_restarts_total",
                                                  "Processes started in place of one that ended.");
  Family<prometheus::Gauge>& worker_items =
      gauge(live, "backlot_worker_items", "Items that the worker has settled, by status.");
  Family<prometheus::Gauge>& worker_memory =
      gauge(live, "backlot_worker_resident_bytes", "Host memory of the worker's process.");
  Family<prometheus::Gauge>& worker_peak = gauge(live, "backlot_worker_peak_resident_bytes",
                                                 "The most host memory that the process had.");
  Family<prometheus::Gauge>& device_memory =
      gauge(live, "backlot_device_memory_bytes", "Memory of the device: total, used and free.");
  Family<prometheus::Gauge>& device_peak =
      gauge(live, "backlot_device_peak_memory_bytes", "The most memory seen in use on the device.");
  Family<prometheus::Gauge>& utilisation =
      gauge(live, "backlot_device_utilisation_ratio", "How busy the device is, from 0 to 1.");
  Family<prometheus::Gauge>& temperature =
      gauge(live, "backlot_device_temperature_celsius", "Temperature of the device.");
  Family<prometheus::Gauge>& load =
      gauge(live, "backlot_processor_load", "Processes that want the CPU, mean over a minute.");
};

class FleetMetrics::Everything : public prometheus::Collectable {
 public:
  void show(std::shared_ptr<Run> run) {
    const std::lock_guard lock(mutex_);
    run_ = std::move(run);
  }
  std::vector<MetricFamily> live() const {
    const auto run = shown();
    return run ? run->live.Collect() : std::vector<MetricFamily>();
  }
  std::vector<MetricFamily> Collect() const override {
    const auto run = shown();
    if (!run) return {};
    auto families = run->books.Collect();
    std::ranges::move(run->live.Collect(), std::back_inserter(families));
    // Of a GPU that never said how warm it is there is nothing to tell.
    std::erase_if(families, [](const MetricFamily& family) { return family.metric.empty(); });
    return families;
  }

 private:
  std::shared_ptr<Run> shown() const {
    const std::lock_guard lock(mutex_);
    return run_;
  }

  mutable std::mutex mutex_;
  std::shared_ptr<Run> run_;
};

FleetMetrics::FleetMetrics()
    : everything_(std::make_shared<Everything>()), run_(std::make_shared<Run>(FleetRun())) {}
FleetMetrics::~FleetMetrics() = default;

std::string FleetMetrics::live_text() const {
  auto families = everything_->live();
  std::erase_if(families, [](const MetricFamily& family) { return family.metric.empty(); });
  return prometheus::TextSerializer().Serialize(families);
}

std::shared_ptr<prometheus::Collectable> FleetMetrics::everything() const { return everything_; }

void FleetMetrics::begin(const FleetRun& run) {
  run_ = std::make_shared<Run>(run);
  count_items();
  everything_->show(run_);
}

// What is read after the end is the file, when the workers are long gone; and those that stay for
// another run are that run's from now on.
void FleetMetrics::end(const RunTotals&) {
  for (auto worker : std::exchange(run_->workers, {})) {
    WorkerView& view = worker.second;
    if (view.state == WorkerState::set_aside) continue;
    view.state = WorkerState::ended;
    view.resident_bytes = 0;
    worker_changed(view);
  }
  count_items();
}

void FleetMetrics::reuse(const Record& record) {
  run_->attempts.Add(run_->labels()).Increment(static_cast<double>(record.attempts));
  if (record.status == ItemStatus::done) run_->count(record);
}

void FleetMetrics::worker_changed(const WorkerView& worker) {
  Run& run = *run_;
  WorkerView& known = run.workers[worker.name] = worker;
  known.in_hand.clear();
  const auto labels = [&](Labels more = {}) {
    more["worker"] = worker.name;
    more["device"] = worker.device;
    return run.labels(std::move(more));
  };
  for (const WorkerState state : worker_states)
    run.worker_state.Add(labels({{"state", std::string(worker_state_name(state))}}))
        .Set(state == worker.state ? 1 : 0);
  run.worker_items.Add(labels({{"status", "done"}})).Set(static_cast<double>(worker.done));
  run.worker_items.Add(labels({{"status", "failed"}})).Set(static_cast<double>(worker.failed));
  int64_t& restarts = run.restarts_of[worker.name];
  run.restarts.Add(labels()).Increment(static_cast<double>(
      std::max<int64_t>(0, worker.restarts - std::exchange(restarts, worker.restarts))));
  run.worker_memory.Add(labels()).Set(static_cast<double>(worker.resident_bytes));
  run.worker_peak.Add(labels()).Set(static_cast<double>(worker.peak_resident_bytes));
}

void FleetMetrics::item_queued(const Item&) {
  ++run_->queued;
  count_items();
}

void FleetMetrics::item_started(const Item& item, const WorkerView&) {
  if (run_->in_hand.insert(item.id).second) --run_->queued;
  count_items();
}

void FleetMetrics::item_done(const Item& item, const Record& record) {
  // What comes from the cache was neither in a queue nor in hand.
  if (!record.attempt.cached) put_down(item);
  ++run_->done;
  ++(record.attempt.cached ? run_->cached : run_->made_here);
  run_->attempts.Add(run_->labels()).Increment(static_cast<double>(record.attempt.tries));
  run_->count(record);
  count_items();
}

void FleetMetrics::item_failed(const Item& item, const std::string&) {
  put_down(item);
  ++run_->failed;
  run_->attempts.Add(run_->labels()).Increment();
  count_items();
}

void FleetMetrics::item_retried(const Item& item, const std::string&) {
  run_->in_hand.erase(item.id);
  run_->retries.Add(run_->labels()).Increment();
  count_items();
}

void FleetMetrics::cache_looked_up(const Item&, bool hit) {
  run_->lookups.Add(run_->labels({{"result", hit ? "hit" : "miss"}})).Increment();
}

void FleetMetrics::devices_read(const std::vector<Device>& devices) {
  Run& run = *run_;
  for (const Device& device : devices) {
    const auto labels = [&](Labels more = {}) {
      more["device"] = device.name;
      return run.labels(std::move(more));
    };
    const uint64_t used = device.memory_bytes - std::min(device.free_bytes, device.memory_bytes);
    const auto memory = [&](const char* kind, uint64_t bytes) {
      run.device_memory.Add(labels({{"kind", kind}})).Set(static_cast<double>(bytes));
    };
    memory("total", device.memory_bytes);
    memory("used", used);
    memory("free", device.free_bytes);
    uint64_t& peak = run.peak_of[device.name];
    peak = std::max(peak, used);
    run.device_peak.Add(labels()).Set(static_cast<double>(peak));
    if (device.utilisation) run.utilisation.Add(labels()).Set(*device.utilisation);
    if (device.temperature_c) run.temperature.Add(labels()).Set(*device.temperature_c);
    if (device.load) run.load.Add(labels()).Set(*device.load);
  }
}

// Settled without having been in hand: it was given up in the queue.
void FleetMetrics::put_down(const Item& item) {
  if (run_->in_hand.erase(item.id) == 0) --run_->queued;
}

void FleetMetrics::count_items() {
  Run& run = *run_;
  const auto queued = static_cast<double>(std::max<int64_t>(0, run.queued));
  const auto in_hand = static_cast<double>(run.in_hand.size());
  const auto state = [&](const char* name, double count) {
    run.states.Add(run.labels({{"state", name}})).Set(count);
  };
  state("queued", queued);
  state("in_hand", in_hand);
  state("done", static_cast<double>(run.made_here));
  state("failed", static_cast<double>(run.failed));
  state("cached", static_cast<double>(run.cached));
  run.queue.Add(run.labels()).Set(queued);
  const auto status = [&](const char* name, double count) {
    run.items.Add(run.labels({{"status", name}})).Set(count);
  };
  status("done", static_cast<double>(run.done));
  status("failed", static_cast<double>(run.failed));
  status("pending", run.planned ? static_cast<double>(*run.planned - run.done - run.failed)
                                : queued + in_hand);
}

}  // namespace backlot
