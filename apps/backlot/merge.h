// Putting run folders together, as `report --output` and `fleet-run --merge` both do.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"

namespace backlot {

// Says on standard error what became of the outputs. ExitCode::items_failed if the plan is not all
// done yet. Throws as merge_runs() does.
ExitCode merge_folders(const std::vector<std::string>& folders, const std::string& output);

}  // namespace backlot
