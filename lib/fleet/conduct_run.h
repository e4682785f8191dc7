// The course of one run in one folder, and that it ends well, however it ends.
#pragma once

#include <cstdint>
#include <functional>

#include "fleet/fleet_metrics.h"
#include "fleet/run_progress.h"
#include "run/run_folder.h"

namespace backlot {

// What is said and done in the course of a run.
struct RunSteps {
  std::function<void(const Totals& before)> begin;
  std::function<void()> prepare = {};            // before all else, if there is anything to make
  std::function<int64_t()> take_cached;          // how many came from a cache
  std::function<void(const Item& item)> queued;  // each that is still to be made
  std::function<void()> make;                    // called if there are any
  std::function<void(const RunTotals& totals)> end;
  // Said from another thread, where the process is ended before the run is (LastWords).
  std::function<void()> cut_short = {};
};

// Takes the steps, and leaves manifest, metrics and report true, whatever stops the run. Throws
// what `make` throws; EnvironmentError if an output that was finished is not there at the end.
RunTotals conduct_run(RunFolder& folder, FleetMetrics& metrics, const RunSteps& steps);

}  // namespace backlot
