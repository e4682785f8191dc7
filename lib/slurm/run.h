// A run whose items are made by the tasks of Slurm array jobs: task K makes shard K of the plan in
// the same run folder, on a file system that all nodes share. docs/slurm.md says how it is used.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/stop.h"
#include "fleet/fleet_progress.h"
#include "run/run_folder.h"
#include "spec/item.h"

namespace backlot {

struct SlurmSettings {
  int64_t tasks = 1;                 // shards that the plan is divided into
  std::vector<std::string> sbatch;   // further arguments for sbatch, the user's
  std::vector<std::string> command;  // what a task runs, but for --shard
  int64_t attempts = 3;              // how often in a row a task may end with nothing made
  std::function<void(const RunFolder&)> first_look;  // told of what the folder held
  std::function<void()> prepare;  // called before tasks are first submitted; the folder is free
};

// "1-3,5" for sbatch's --array.
std::string array_text(const std::vector<int64_t>& shards);

// What each task of the array job runs, as a script for a shell.
std::string task_script(const SlurmSettings& settings);

// How the job would be submitted, as a line for a shell: for --dry-run.
std::string submission_line(const Plan& plan, const SlurmSettings& settings,
                            const std::vector<int64_t>& shards);

// Returns when everything is made or failed for good; manifest and report are written then. A job
// that an earlier call left running is followed, not submitted again. Throws UsageError (--fresh
// while a job goes on), EnvironmentError (Slurm refuses; tasks end again and again with items
// missing), Interrupted (the job goes on).
RunTotals run_on_slurm(const Plan& plan, const RunInfo& info, Resume resume,
                       const SlurmSettings& settings, FleetProgress& progress,
                       const StopSignal& stop);

}  // namespace backlot
