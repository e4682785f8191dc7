// `backlot fleet-run --engine redis`, and the boxes that work for it: `backlot fleet-run --worker`.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "fleet/supervisor.h"
#include "generate.h"

namespace backlot {

struct RedisOptions {
  std::string url, queue = "backlot";
  bool worker = false;
  double claim_after = 30;  // seconds
  double idle_exit = -1;    // seconds; negative: never
};

void declare_redis_options(CLI::App& app, RedisOptions& options);

// Throws UsageError for options that don't go with the engine, or with --worker.
void check_redis_options(const CLI::App& app, const std::string& engine,
                         const RedisOptions& options);

// Puts everything that `runs` ask for on the queue, one run after another, and follows to the end;
// with --dry-run, prints the plans. Throws as RedisCoordinator does, and EnvironmentError if
// outputs lie on other machines.
ExitCode run_fleet_over_redis(std::vector<PreparedRun>& runs, const GenerateOptions& options,
                              const RedisOptions& redis, StopSignal& stop);

// Works for the queue. `fleet` starts this box's workers. Throws as RedisQueue and Supervisor do.
ExitCode run_redis_box(const GenerateOptions& options, const RedisOptions& redis, int64_t attempts,
                       const std::function<Supervisor&(FleetProgress&)>& fleet, StopSignal& stop);

}  // namespace backlot
