#include "slurm/endings.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/text.h"

namespace backlot {
namespace {

constexpr off_t tail_bytes = 16 << 10;

std::string tail_of(const RootedFolder& root, const fs::path& file) {
  const UniqueFd fd = root.open_file(file, O_RDONLY | O_NONBLOCK);
  struct stat facts {};
  if (!fd || ::fstat(fd.get(), &facts) != 0) return "";
  std::string text(static_cast<size_t>(std::min(facts.st_size, tail_bytes)), '\0');
  const ssize_t n =
      ::pread(fd.get(), text.data(), text.size(), facts.st_size - static_cast<off_t>(text.size()));
  text.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return text;
}

std::string with_words(std::string text, const std::string& telling) {
  return telling.empty() ? text : fmt::format("{}: {}", text, telling);
}

}  // namespace

std::string telling_line(const RootedFolder& root, const std::string& job, int64_t index) {
  std::string last;
  for (const auto& line :
       split(tail_of(root, fmt::format("journal/slurm-{}_{}.log", job, index)), '\n')) {
    const std::string_view text = trim(line);
    if (text.empty()) continue;
    constexpr std::string_view mark = "error: ";
    const size_t at = text.find(mark);
    // An error stands above what is only said after it.
    if (at != std::string_view::npos)
      last = "!" + std::string(text.substr(at + mark.size()));
    else if (!last.starts_with('!'))
      last = text;
  }
  return printable(last.starts_with('!') ? last.substr(1) : last);
}

std::string ending_in_words(const std::optional<SlurmEnd>& end, const std::string& telling) {
  if (!end) return with_words("ended, and Slurm no longer knows how", telling);
  struct Words {
    std::string_view state;
    const char* text;
  };
  constexpr std::array known = {Words{"CANCELLED", "was cancelled"},
                                Words{"TIMEOUT", "reached its time limit"},
                                Words{"DEADLINE", "reached its deadline"},
                                Words{"OUT_OF_MEMORY", "ran out of the memory it was given"},
                                Words{"NODE_FAIL", "lost its node"},
                                Words{"BOOT_FAIL", "got a node that did not start"},
                                Words{"PREEMPTED", "was preempted"},
                                Words{"REVOKED", "was revoked"}};
  for (const auto& each : known)
    if (end->state == each.state) return each.text;
  if (end->signal != 0)
    return with_words(fmt::format("was ended by signal {}", end->signal), telling);
  // Slurm says TERM half a minute before the time limit, and backlot ends itself in good order.
  if (end->exit_code == static_cast<int>(ExitCode::terminated))
    return "was asked to end, as before its time limit";
  return with_words(fmt::format("ended with exit code {}", end->exit_code), telling);
}

}  // namespace backlot
