// The ways in which a run can be watched.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/time.h"
#include "fleet/fleet_progress.h"

namespace backlot {

// mode: auto (live lines on a terminal, else plain ones), bar (live lines anyway), plain, json (one
// object a line, docs/progress.md), off. All write to standard error. Warnings go to the log in
// every mode.
std::unique_ptr<FleetProgress> make_progress(const std::string& mode);

// Whether `mode` becomes live lines here: they show memory and temperature.
bool is_live(const std::string& mode);

// "12s", "3m05s", "2h10m"
std::string duration(double seconds);

// "1.9/s", "4.2/min", "3.0/h"; "" before the first.
std::string rate(int64_t count, double seconds);

// What every way of watching counts.
struct RunCounts {
  std::string name;
  std::optional<int64_t> items;
  int64_t reused = 0, done = 0, failed = 0, waiting = 0;
  Stopwatch watch;

  int64_t made() const { return reused + done + failed; }
  std::optional<double> seconds_left() const;  // at the rate so far
};

// "fruit-sheet: 9 of 10 done, 1 failed, in 12s"
std::string summary(const std::string& name, const RunTotals& totals);

std::unique_ptr<FleetProgress> make_json_progress();
std::unique_ptr<FleetProgress> make_live_progress();

}  // namespace backlot
