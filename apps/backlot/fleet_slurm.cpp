#include "fleet_slurm.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "command.h"
#include "fleet/devices.h"
#include "log.h"
#include "slurm/client.h"
#include "slurm/run.h"
#include "texts.h"

namespace backlot {
namespace {

// Options that are not a task's: what is shown to whoever submits, what is done once, and what says
// that there are tasks at all.
constexpr std::array not_for_tasks = {
    "specs",    "merge",   "engine",   "tasks",        "slurm-args",     "shard",
    "output",   "dry-run", "fresh",    "json",         "quiet",          "verbose",
    "log-json", "trace",   "progress", "metrics-port", "metrics-address"};

bool for_tasks(const std::string& name) {
  return std::ranges::find(not_for_tasks, name) == not_for_tasks.end();
}

// What a task of the array job runs for `run`, the which-th of the specs: this program, with what
// was given to `app`.
std::vector<std::string> task_command(const CLI::App& app, const PreparedRun& run, size_t which) {
  std::vector<std::string> words{fs::read_symlink("/proc/self/exe").string(), app.get_name()};
  for (const CLI::Option* option : app.get_options()) {
    const std::string name = option->get_single_name();
    if (name == "specs" && !option->empty()) words.push_back(option->results().at(which));
    if (option->empty() || !for_tasks(name)) continue;
    // One word each, so that a value which begins with a dash stays a value.
    for (const auto& value : option->results())
      words.push_back(option->get_expected_max() == 0 ? fmt::format("--{}", name)
                                                      : fmt::format("--{}={}", name, value));
  }
  words.insert(words.end(), {"--output=" + run.plan.run_folder.string(), "--progress=plain"});
  return words;
}

void print_slurm_plan(const PreparedRun& run, const SlurmSettings& settings) {
  std::vector<int64_t> shards;
  for (int64_t shard = 1; shard <= settings.tasks; ++shard) shards.push_back(shard);
  print_result(
      fmt::format("  submitted for the shards of which something is missing:\n    {}\n"
                  "  with the script:\n{}",
                  submission_line(run.plan, settings, shards), task_script(settings)));
}

}  // namespace

void declare_slurm_options(CLI::App& app, SlurmOptions& options) {
  app.add_option("--tasks", options.tasks,
                 "with --engine slurm: how many tasks the items are divided among")
      ->check(CLI::Range(1, 100000));
  app.add_option("--slurm-args", options.arguments,
                 "with --engine slurm: further arguments for sbatch, as '--partition=gpu "
                 "--gres=gpu:1 --time=4:00:00'");
}

void check_slurm_options(const CLI::App& app, const std::string& engine) {
  if (engine == "slurm") {
    if (app.count("--shard") > 0)
      throw UsageError("--shard", "does not go with --engine slurm, whose tasks are shards",
                       "say how many with --tasks");
    return;
  }
  for (const char* option : {"--tasks", "--slurm-args"})
    if (app.count(option) > 0)
      throw UsageError(option, "is for --engine slurm", "add that, or leave it out");
}

ExitCode run_fleet_on_slurm(const CLI::App& app, std::vector<PreparedRun>& runs,
                            const GenerateOptions& options, const SlurmOptions& slurm,
                            int64_t attempts, FleetProgress& progress, StopSignal& stop) {
  SlurmSettings settings;
  settings.tasks = slurm.tasks;
  settings.sbatch = split_slurm_arguments(slurm.arguments);
  settings.attempts = attempts;
  settings.first_look = report_findings;
  ExitCode code = ExitCode::done;
  const auto conduct = [&](const PreparedRun& run) {
    settings.command = task_command(app, run, static_cast<size_t>(&run - runs.data()));
    if (options.dry_run) {
      print_plan(run, options, {choose_device("auto")});
      if (!options.json) print_slurm_plan(run, settings);
      return;
    }
    // The tasks are shards, which make none.
    settings.prepare = [&] { open_with_texts(run, {}, options, choose_device("auto"), stop); };
    const RunTotals totals =
        run_on_slurm(run.plan, run.info, options.fresh ? Resume::start_over : Resume::from_disk,
                     settings, progress, stop);
    if (totals.failed > 0) code = ExitCode::items_failed;
    print_totals(run, totals, options.json);
  };
  try {
    conduct_in_turn(runs, options, conduct);
  } catch (const Interrupted&) {
    log_warning("interrupted; run the same command again to go on");
    return stop.exit_code();
  }
  return code;
}

}  // namespace backlot
