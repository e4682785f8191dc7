// Progress as JSON, one event a line; docs/progress.md describes them.
#include <map>

#include "base/json.h"
#include "base/time.h"
#include "log.h"
#include "progress.h"

namespace backlot {
namespace {

class JsonProgress : public FleetProgress {
 public:
  void begin(const FleetRun& run) override {
    run_ = run.name;
    last_.clear();
    write({{"event", "begin"},
           {"run", run.name},
           {"items", run.items ? Json(*run.items) : Json()},
           {"reused", run.reused}});
  }
  void worker_changed(const WorkerView& worker) override {
    const auto [place, added] = last_.try_emplace(worker.name);
    const Seen now{worker.state, worker.stage, worker.step, worker.steps};
    const Seen before = std::exchange(place->second, now);
    if (added || before.state != now.state) write(event_of(worker));
    if (!now.stage.empty() && before.stage != now.stage)
      write({{"event", "stage"}, {"stage", now.stage}, {"worker", worker.name}});
    if (now.steps > 0 && (before.step != now.step || before.steps != now.steps))
      write({{"event", "step"},
             {"stage", worker.stage},
             {"done", worker.step},
             {"total", worker.steps},
             {"batch", worker.batch},
             {"worker", worker.name}});
  }
  void item_queued(const Item& item) override { write(event_of("queued", item)); }
  void item_started(const Item& item, const WorkerView& worker) override {
    Json event = event_of("started", item);
    event["worker"] = worker.name;
    event["device"] = worker.device;
    write(std::move(event));
  }
  void item_progress(const Item& item, int percent, std::string_view preview) override {
    Json event = event_of("progress", item);
    event["percent"] = percent;
    if (!preview.empty()) event["preview"] = preview;
    write(std::move(event));
  }
  void item_done(const Item& item, const Record& record) override {
    Json event = event_of("item", item, "done");
    event["seconds"] = record.attempt.seconds();
    event["cached"] = record.attempt.cached;
    write(std::move(event));
  }
  void item_failed(const Item& item, const std::string& error) override {
    Json event = event_of("item", item, "failed");
    event["error"] = error;
    write(std::move(event));
  }
  void item_retried(const Item& item, const std::string& why) override {
    Json event = event_of("retried", item);
    event["why"] = why;
    write(std::move(event));
  }
  void cache_looked_up(const Item& item, bool hit) override {
    Json event = event_of("cache", item);
    event["hit"] = hit;
    write(std::move(event));
  }
  void warning(const std::string& text) override { log_warning(text); }
  void end(const RunTotals& t) override {
    write({{"event", "end"},
           {"run", run_},
           {"items", t.items},
           {"reused", t.reused},
           {"done", t.done},
           {"failed", t.failed},
           {"pending", t.pending},
           {"seconds", t.seconds}});
  }

 private:
  struct Seen {
    WorkerState state = WorkerState::starting;
    std::string stage;
    int64_t step = 0, steps = 0;
  };

  static Json event_of(const char* name, const Item& item, const char* status = nullptr) {
    Json event{{"event", name}};
    if (status) event["status"] = status;
    event["index"] = item.index;
    event["id"] = item.id;
    event["output"] = item.output;
    return event;
  }

  static Json event_of(const WorkerView& worker) {
    Json event{{"event", "worker"},          {"worker", worker.name},
               {"device", worker.device},    {"state", worker_state_name(worker.state)},
               {"done", worker.done},        {"failed", worker.failed},
               {"restarts", worker.restarts}};
    if (!worker.reason.empty()) event["reason"] = worker.reason;
    if (worker.resident_bytes > 0) event["resident_bytes"] = worker.resident_bytes;
    if (worker.device_free_bytes) event["device_free_bytes"] = *worker.device_free_bytes;
    if (worker.temperature_c) event["temperature_c"] = *worker.temperature_c;
    if (worker.utilisation) event["utilisation"] = *worker.utilisation;
    return event;
  }

  static void write(Json event) {
    event["time"] = utc_now();
    write_stderr(event.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  }

  std::string run_;
  std::map<std::string, Seen> last_;  // by worker
};

}  // namespace

std::unique_ptr<FleetProgress> make_json_progress() { return std::make_unique<JsonProgress>(); }

}  // namespace backlot
