// What a benchmark's figures depend on, besides the code.
#pragma once

#include "base/json.h"

namespace backlot {

// CPU model, the instruction sets that matter, processors and memory that this process may use,
// cgroup limits, GPUs with their driver, versions, load at the start. No names of hosts or users.
Json machine_facts(const std::string& backlot_version, const std::string& libtorch_version,
                   int threads);

// Processes that were running or waiting for one, averaged over a minute.
double load_average();

}  // namespace backlot
