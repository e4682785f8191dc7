// Why a task ended, in words for a person.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "run/rooted_folder.h"
#include "slurm/client.h"

namespace backlot {

// The line of a task's log that says most about its end: the last error, else the last line; "" if
// there is none.
std::string telling_line(const RootedFolder& root, const std::string& job, int64_t index);

// "ran out of memory", "was cancelled", "ended with exit code 3: MODEL: …". `end` is nothing where
// Slurm no longer knows.
std::string ending_in_words(const std::optional<SlurmEnd>& end, const std::string& telling);

}  // namespace backlot
