// How an array job is put to sbatch.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "slurm/run.h"
#include "slurm/submission.h"

namespace backlot {
namespace {

constexpr int seconds_before_time_limit = 30;  // backlot needs five to end in good order

std::string shell_quoted(const std::string& word) {
  const auto plain = [](unsigned char c) {
    return std::isalnum(c) ||
           std::string_view("_-+=./:,@%").find(static_cast<char>(c)) != std::string_view::npos;
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string shell_line(const std::vector<std::string>& words) {
  std::vector<std::string> quoted;
  for (const auto& word : words) quoted.push_back(shell_quoted(word));
  return fmt::format("{}", fmt::join(quoted, " "));
}

}  // namespace

std::string array_text(const std::vector<int64_t>& shards) {
  std::string text;
  for (size_t i = 0; i < shards.size();) {
    size_t end = i + 1;
    while (end < shards.size() && shards[end] == shards[end - 1] + 1) ++end;
    if (!text.empty()) text += ',';
    text += end - i == 1 ? fmt::format("{}", shards[i])
                         : fmt::format("{}-{}", shards[i], shards[end - 1]);
    i = end;
  }
  return text;
}

std::string task_script(const SlurmSettings& settings) {
  // exec: signals from Slurm then reach backlot itself.
  return fmt::format(
      "#!/bin/sh\n"
      "# Written by backlot: what each task of the run's array job does.\n"
      "exec {} --shard \"$SLURM_ARRAY_TASK_ID/{}\"\n",
      shell_line(settings.command), settings.tasks);
}

std::vector<std::string> sbatch_arguments(const fs::path& folder, const SlurmRound& round,
                                          const SlurmSettings& settings) {
  std::string logs = (folder / "journal").string();
  // sbatch would fill in what follows a percent sign.
  for (size_t at = 0; (at = logs.find('%', at)) != std::string::npos; at += 2)
    logs.insert(at, 1, '%');
  std::vector<std::string> words{"--job-name=" + round.name,
                                 "--array=" + array_text(round.shards),
                                 "--chdir=" + fs::current_path().string(),
                                 "--requeue",
                                 "--open-mode=append",
                                 fmt::format("--signal=B:TERM@{}", seconds_before_time_limit),
                                 "--output=" + logs + "/slurm-%A_%a.log"};
  words.insert(words.end(), settings.sbatch.begin(), settings.sbatch.end());
  words.push_back((folder / task_script_file).string());
  return words;
}

std::string submission_line(const Plan& plan, const SlurmSettings& settings,
                            const std::vector<int64_t>& shards) {
  SlurmRound round;
  round.name = round_name(plan.name, "NUMBER", 1);
  round.shards = shards;
  std::vector<std::string> words = sbatch_arguments(plan.run_folder, round, settings);
  words.insert(words.begin(), {"sbatch", "--parsable"});
  return shell_line(words);
}

}  // namespace backlot
