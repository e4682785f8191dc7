// How an array job is put to sbatch.
#pragma once

#include <string>
#include <vector>

#include "base/files.h"
#include "slurm/job_file.h"
#include "slurm/run.h"

namespace backlot {

constexpr const char* task_script_file = "journal/slurm-task.sh";  // below the run folder

// sbatch's arguments for the round: backlot's own, the user's, the script.
std::vector<std::string> sbatch_arguments(const fs::path& folder, const SlurmRound& round,
                                          const SlurmSettings& settings);

}  // namespace backlot
