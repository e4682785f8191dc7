// --slurm-args: words for sbatch, and which of them would take the job out of backlot's hands.
#include <fmt/format.h>

#include <array>

#include "base/text.h"
#include "slurm/client.h"

namespace backlot {
namespace {

UsageError wrong(std::string what, std::string mend) {
  return {"--slurm-args", std::move(what), std::move(mend)};
}

struct Taken {
  std::string_view name, letter;  // "--array", "-a"
  const char* mend;
};

constexpr std::array taken = {
    Taken{"--array", "-a", "say how many with --tasks"},
    Taken{"--chdir", "-D", "run backlot in that folder"},
    Taken{"--clusters", "-M", "set SLURM_CLUSTERS to one cluster"},
    Taken{"--error", "-e", "the logs are journal/slurm-JOB_TASK.log in the run folder"},
    Taken{"--job-name", "-J", "backlot knows its job by its name"},
    Taken{"--output", "-o", "the logs are journal/slurm-JOB_TASK.log in the run folder"},
    Taken{"--parsable", "", "leave it out"},
    Taken{"--test-only", "", "use backlot's --dry-run"},
    Taken{"--wait", "-W", "leave it out: backlot waits"},
    Taken{"--wrap", "", "leave it out: backlot brings the script"},
};

// "--arr=1-4" and "--array" are sbatch's for --array; "-a1-4" and "-a" likewise.
bool names(std::string_view word, const Taken& option) {
  const std::string_view name = word.substr(0, word.find('='));
  if (word.starts_with("--"))
    return name.size() > 4 ? option.name.starts_with(name) : name == option.name;
  return !option.letter.empty() && word.starts_with(option.letter);
}

}  // namespace

std::vector<std::string> split_slurm_arguments(const std::string& text) {
  std::vector<std::string> words;
  bool in_word = false;
  char quote = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool blank = c == ' ' || c == '\t' || c == '\n';
    if (!quote && blank) {
      in_word = false;
      continue;
    }
    if (!in_word) words.emplace_back();
    in_word = true;
    if (!quote && (c == '\'' || c == '"')) {
      quote = c;
    } else if (c == quote) {
      quote = 0;
    } else if (c == '\\' && quote != '\'' && i + 1 < text.size()) {
      words.back() += text[++i];
    } else {
      words.back() += c;
    }
  }
  if (quote) throw wrong(fmt::format("a quote ({}) is not closed", quote), "close it");
  for (const auto& word : words) {
    if (word.empty() || word[0] != '-') continue;
    for (const auto& option : taken)
      if (names(word, option))
        throw wrong(fmt::format("{} is backlot's to set", option.name), option.mend);
  }
  return words;
}

}  // namespace backlot
