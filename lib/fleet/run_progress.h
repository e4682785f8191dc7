// What a run tells whoever watches it. Called from the computing and the writing threads.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "run/journal.h"
#include "spec/item.h"

namespace backlot {

struct RunTotals {
  int64_t items = 0;    // in the plan
  int64_t reused = 0;   // done by an earlier run, proven from the disk
  int64_t done = 0;     // made by this run, or taken from a cache
  int64_t cached = 0;   // of those: taken from a cache
  int64_t failed = 0;   // failed in this run
  int64_t pending = 0;  // still to do
  double seconds = 0;   // this run's wall time
};

class RunProgress {
 public:
  virtual ~RunProgress() = default;
  virtual void begin(const Plan& plan, int64_t items, int64_t reused) = 0;
  virtual void stage(std::string_view name) = 0;  // load, text_encode, denoise, decode
  virtual void step(int64_t done, int64_t total, int64_t batch) = 0;
  virtual void item_done(const Item& item, double seconds) = 0;
  virtual void item_failed(const Item& item, const std::string& error) = 0;
  virtual void warning(const std::string& text) = 0;
  virtual void note(const std::string&) {}  // what goes on elsewhere, for a person
  virtual void end(const RunTotals& totals) = 0;
  virtual void detail(const std::string&) {}  // for those who asked for more

  // How far an item is: 0, 25, 50, 75 or 100, of its steps; 100 when there is a picture. A number
  // that fell means that it was begun again. `preview` is a small PNG as a data: URI, or "".
  virtual void item_progress(const Item&, int /*percent*/, std::string_view /*preview*/) {}
  virtual bool wants_previews() const { return false; }

  virtual void item_queued(const Item&) {}  // still to be made; after begin
  virtual void item_retried(const Item&, const std::string& /*why*/) {}
  virtual void item_recorded(const Item&, const Record&) {}  // just before item_done

  // For those who keep time. Stages from here on are for these items.
  virtual void batch_begun(std::span<const Item* const>) {}
  virtual void stage_ended() {}         // the last one named, with none after it
  virtual void writing(const Item&) {}  // in the thread that will say item_done or item_failed
};

}  // namespace backlot
