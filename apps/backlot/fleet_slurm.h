// `backlot fleet-run --engine slurm`.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "fleet/fleet_progress.h"
#include "generate.h"

namespace backlot {

struct SlurmOptions {
  int64_t tasks = 4;
  std::string arguments;
};

void declare_slurm_options(CLI::App& app, SlurmOptions& options);

// Throws UsageError for options that don't go with the engine.
void check_slurm_options(const CLI::App& app, const std::string& engine);

// Everything that `runs` ask for, one array job after another; with --dry-run, how each would be
// submitted. `app` is fleet-run with its options as given: what a task is to be told comes from
// there. Throws as run_on_slurm does.
ExitCode run_fleet_on_slurm(const CLI::App& app, std::vector<PreparedRun>& runs,
                            const GenerateOptions& options, const SlurmOptions& slurm,
                            int64_t attempts, FleetProgress& progress, StopSignal& stop);

}  // namespace backlot
