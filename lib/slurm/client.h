// Slurm, through its own commands: they know the cluster's configuration, and their options have
// meant the same for many versions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/stop.h"

namespace backlot {

// slurmctld did not answer: it may do so later.
struct SlurmAway : EnvironmentError {
  using EnvironmentError::EnvironmentError;
};

// A task of an array job, as squeue tells of it.
struct SlurmTask {
  std::string job;     // of the array, "1234"
  int64_t index = 0;   // K
  std::string state;   // "PENDING", "RUNNING", "CANCELLED", …
  std::string reason;  // why it waits; "None" if it doesn't
  bool operator==(const SlurmTask&) const = default;
};

// True once the task won't run again by itself.
bool has_ended(const SlurmTask& task);

// How a task ended, as far as Slurm still knows.
struct SlurmEnd {
  std::string state;
  int exit_code = 0;
  int signal = 0;
};

// One line a task: "JOB|K|STATE|REASON". Lines of another form are passed over.
std::vector<SlurmTask> parse_squeue(std::string_view text);

// The last of sacct's "STATE|EXIT:SIGNAL" lines.
std::optional<SlurmEnd> parse_sacct(std::string_view text);

// From scontrol's "JobState=… ExitCode=EXIT:SIGNAL …".
std::optional<SlurmEnd> parse_scontrol(std::string_view text);

class SlurmClient {
 public:
  explicit SlurmClient(const StopSignal& stop) : stop_(stop) {}

  // Throws EnvironmentError if this machine has no Slurm commands.
  void insist_on_commands() const;

  // The array job's number. `lock` is a locked descriptor that sbatch keeps open: while it is held,
  // a submission may be under way. Throws EnvironmentError with Slurm's own words if it refuses,
  // SlurmAway if it is not known whether it took the job.
  std::string submit(const std::vector<std::string>& arguments, int lock) const;

  // All tasks of jobs with this name that run, wait, or ended a short while ago. Throws SlurmAway.
  std::vector<SlurmTask> tasks_named(const std::string& name) const;

  // From the accounting, else from slurmctld's memory; nothing where neither knows or answers.
  std::optional<SlurmEnd> end_of(const std::string& job, int64_t index) const;

  void cancel(const std::string& job) const;

 private:
  const StopSignal& stop_;
};

// The text of `--slurm-args` as a shell would split it, without a shell's other doings. Throws
// UsageError: an open quote, or an option that backlot sets itself.
std::vector<std::string> split_slurm_arguments(const std::string& text);

}  // namespace backlot
