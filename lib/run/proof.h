// Whether an output is what its journal line says.
#pragma once

#include <optional>
#include <string>

#include "run/journal.h"
#include "run/rooted_folder.h"

namespace backlot {

enum class Proof { good, missing, damaged };

// Of the whole file, from its beginning; nothing if it can't be read.
std::optional<std::string> hash_of(const UniqueFd& file);

// Compares size and SHA-256 of what lies at `relative`, whatever name `file` has.
Proof prove(const RootedFolder& root, const fs::path& relative, const OutputFile& file);

}  // namespace backlot
