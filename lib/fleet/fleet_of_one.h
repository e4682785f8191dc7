// One process that makes its items itself, told as a fleet with one worker: so that the two are
// watched in the same ways.
#pragma once

#include <mutex>
#include <optional>
#include <string>

#include "base/time.h"
#include "fleet/device_monitor.h"
#include "fleet/fleet_progress.h"
#include "fleet/run_progress.h"

namespace backlot {

class FleetOfOne : public RunProgress {
 public:
  struct Wishes {
    bool previews = false;
    bool readings = false;  // memory, temperature and utilisation, once a second
  };

  // `listener` must outlive it, and hears one call at a time.
  FleetOfOne(FleetProgress& listener, const std::string& device, Wishes wishes);

  void begin(const Plan& plan, int64_t items, int64_t reused) override;
  void item_queued(const Item& item) override;
  void batch_begun(std::span<const Item* const> batch) override;
  void stage(std::string_view name) override;
  void step(int64_t done, int64_t total, int64_t batch) override;
  void stage_ended() override;
  void item_progress(const Item& item, int percent, std::string_view preview) override;
  bool wants_previews() const override { return wishes_.previews; }
  void item_retried(const Item& item, const std::string& why) override;
  void item_recorded(const Item& item, const Record& record) override;
  void item_done(const Item&, double) override {}  // item_recorded has said more
  void item_failed(const Item& item, const std::string& error) override;
  void warning(const std::string& text) override;
  void detail(const std::string& text) override;
  void end(const RunTotals& totals) override;

 private:
  void changed();  // with the lock held, as the next two
  void read_devices();
  void put_down(const Item& item);

  std::mutex mutex_;
  FleetProgress& listener_;
  Wishes wishes_;
  WorkerView worker_;
  std::optional<DeviceMonitor> monitor_;
  Stopwatch since_reading_;
};

}  // namespace backlot
