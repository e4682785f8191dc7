// A fleet's numbers for Prometheus, true at every moment; docs/metrics.md lists them.
#pragma once

#include <memory>
#include <string>

#include "fleet/fleet_progress.h"

namespace prometheus {
class Collectable;
}

namespace backlot {

class FleetMetrics : public FleetProgress {
 public:
  FleetMetrics();
  ~FleetMetrics() override;

  // After begin(), for each record that earlier runs left in the run folder: some numbers are of
  // all starts of a run.
  void reuse(const Record& record);

  // What metrics.prom holds besides metrics_text(), which is made from the records. From any
  // thread, as long as this lives.
  std::string live_text() const;

  // Both, for a server; from any thread, also when this is gone.
  std::shared_ptr<prometheus::Collectable> everything() const;

  void begin(const FleetRun& run) override;
  void end(const RunTotals& totals) override;
  void worker_changed(const WorkerView& worker) override;
  void item_queued(const Item& item) override;
  void item_started(const Item& item, const WorkerView& worker) override;
  void item_done(const Item& item, const Record& record) override;
  void item_failed(const Item& item, const std::string& error) override;
  void item_retried(const Item& item, const std::string& why) override;
  void cache_looked_up(const Item& item, bool hit) override;
  void devices_read(const std::vector<Device>& devices) override;

 private:
  struct Run;
  class Everything;
  void put_down(const Item& item);
  void count_items();

  std::shared_ptr<Everything> everything_;
  std::shared_ptr<Run> run_;  // null before begin()
};

}  // namespace backlot
