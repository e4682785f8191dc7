#include "slurm/client.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/text.h"
#include "slurm/outside_program.h"

namespace backlot {
namespace {

// Longer than Slurm's own MessageTimeout allows its commands to try.
constexpr double patience_seconds = 90;

template <typename Number>
bool read_number(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

// What a command of Slurm's said, on one line: the last thing it said is the reason.
std::string reason_in(const ProgramResult& result) {
  if (!result.in_time) return fmt::format("no answer for {:.0f} s", patience_seconds);
  const auto lines = split(result.err, '\n');
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
    const std::string_view text = trim(*line);
    if (text.empty()) continue;
    for (const std::string_view mark : {"error: ", "fatal: "})
      if (const size_t at = text.find(mark); at != std::string_view::npos)
        return std::string(text.substr(at + mark.size()));
    return std::string(text);
  }
  return fmt::format("ended with code {} and said nothing", result.exit_code);
}

// Words of Slurm's commands for: slurmctld can't be reached, or did not answer in time.
bool is_away(const ProgramResult& result) {
  constexpr std::array words = {"Unable to contact slurm controller",
                                "Socket timed out",
                                "Connection refused",
                                "Connection reset",
                                "Zero Bytes were transmitted",
                                "Message receive failure",
                                "temporarily unable"};
  return !result.in_time || std::ranges::any_of(words, [&](std::string_view word) {
    return result.err.find(word) != std::string::npos;
  });
}

SlurmAway away(const std::string& program, const ProgramResult& result) {
  return {program, reason_in(result),
          "see whether slurmctld runs ('scontrol ping'), then run the same command again"};
}

// Words of Slurm's commands for: there is no slurm.conf, and no server that has it.
bool is_unconfigured(const ProgramResult& result) {
  return result.err.find("Could not establish a configuration source") != std::string::npos;
}

constexpr const char* configure =
    "Slurm has no configuration on this machine: put the cluster's slurm.conf into /etc/slurm or "
    "name it in $SLURM_CONF, or run this on a login node";

EnvironmentError missing(const std::string& program) {
  return {program, "there is no such command here",
          "run this on a machine with Slurm's client commands, such as a cluster's login node"};
}

// "143:0", or a status as waitpid gives it, which some versions print.
bool read_exit(std::string_view text, SlurmEnd& end) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) return false;
  return read_number(text.substr(0, colon), end.exit_code) &&
         read_number(text.substr(colon + 1), end.signal);
}

std::string_view word_after(std::string_view text, std::string_view key) {
  const size_t at = text.find(key);
  if (at == std::string_view::npos) return {};
  const std::string_view rest = text.substr(at + key.size());
  return rest.substr(0, rest.find_first_of(" \n"));
}

}  // namespace

bool has_ended(const SlurmTask& task) {
  constexpr std::array ended = {"BOOT_FAIL", "CANCELLED", "COMPLETED",     "DEADLINE", "FAILED",
                                "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY", "REVOKED",  "TIMEOUT"};
  return std::ranges::find(ended, task.state) != ended.end();
}

std::vector<SlurmTask> parse_squeue(std::string_view text) {
  std::vector<SlurmTask> tasks;
  for (const auto& line : split(text, '\n')) {
    const auto fields = split(line, '|');
    SlurmTask task;
    if (fields.size() < 4 || !read_number(fields[1], task.index)) continue;
    task.job = fields[0];
    task.state = fields[2];
    task.reason = fields[3];
    tasks.push_back(std::move(task));
  }
  return tasks;
}

std::optional<SlurmEnd> parse_sacct(std::string_view text) {
  std::optional<SlurmEnd> found;
  for (const auto& line : split(text, '\n')) {
    const auto fields = split(line, '|');
    SlurmEnd end;
    if (fields.size() != 2 || !read_exit(fields[1], end)) continue;
    end.state = fields[0].substr(0, fields[0].find(' '));  // "CANCELLED by 1000"
    found = end;
  }
  return found;
}

std::optional<SlurmEnd> parse_scontrol(std::string_view text) {
  SlurmEnd end;
  end.state = word_after(text, "JobState=");
  if (end.state.empty() || !read_exit(word_after(text, "ExitCode="), end)) return std::nullopt;
  return end;
}

void SlurmClient::insist_on_commands() const {
  for (const std::string program : {"sbatch", "squeue"})
    if (!run_outside({program, "--version"}, {.stop = &stop_}).found) throw missing(program);
}

std::string SlurmClient::submit(const std::vector<std::string>& arguments, int lock) const {
  std::vector<std::string> words{"sbatch", "--parsable"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  ProgramOptions options;
  options.seconds = patience_seconds;
  options.inherited = lock;
  options.absent = {"SBATCH_WAIT"};  // it would keep sbatch until the job ends
  const ProgramResult result = run_outside(words, options);
  if (!result.found) throw missing("sbatch");
  if (is_away(result)) throw away("sbatch", result);
  if (is_unconfigured(result)) throw EnvironmentError("sbatch", reason_in(result), configure);
  const std::string_view answer = trim(result.out);
  const std::string job(answer.substr(0, answer.find(';')));  // "JOB;CLUSTER"
  int64_t number = 0;
  if (!result.succeeded() || !read_number(std::string_view(job), number))
    throw EnvironmentError("sbatch", reason_in(result), "change --slurm-args or --tasks to suit");
  return job;
}

std::vector<SlurmTask> SlurmClient::tasks_named(const std::string& name) const {
  const ProgramResult result = run_outside(
      {"squeue", "--noheader", "--array", "--states=all", "--name=" + name, "--format=%F|%K|%T|%r"},
      {.seconds = patience_seconds, .stop = &stop_});
  if (!result.found) throw missing("squeue");
  if (is_unconfigured(result)) throw SlurmAway("squeue", reason_in(result), configure);
  if (!result.succeeded()) throw away("squeue", result);
  return parse_squeue(result.out);
}

std::optional<SlurmEnd> SlurmClient::end_of(const std::string& job, int64_t index) const {
  const std::string task = fmt::format("{}_{}", job, index);
  const ProgramOptions options{.seconds = patience_seconds, .stop = &stop_};
  const auto accounted = run_outside({"sacct", "--allocations", "--noheader", "--parsable2",
                                      "--jobs=" + task, "--format=State,ExitCode"},
                                     options);
  if (accounted.succeeded())
    if (const auto end = parse_sacct(accounted.out)) return end;
  const auto remembered = run_outside({"scontrol", "--oneliner", "show", "job", task}, options);
  return remembered.succeeded() ? parse_scontrol(remembered.out) : std::nullopt;
}

void SlurmClient::cancel(const std::string& job) const {
  run_outside({"scancel", job}, {.seconds = patience_seconds, .stop = &stop_});
}

}  // namespace backlot
