// The ways in which a run can be watched.
#pragma once

#include <memory>
#include <string>

#include "fleet/fleet_progress.h"
#include "fleet/run_progress.h"

namespace backlot {

// mode: auto (a bar on a terminal, else plain lines), bar, plain, json (one object a line), off.
// All write to standard error. Warnings go to the log in every mode.
std::unique_ptr<RunProgress> make_progress(const std::string& mode);

std::unique_ptr<FleetProgress> make_fleet_progress(const std::string& mode);

}  // namespace backlot
