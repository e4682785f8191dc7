// JSON files of a model folder: configs and shard indexes, which anyone may have written.
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/json.h"

namespace backlot {

// Parses the file: at most `max_bytes`, 64 levels deep, no name twice in an object. Throws
// LoadError; for a syntax error its place is file:line:column.
Json read_json_file(const std::filesystem::path& path, uint64_t max_bytes = 16 << 20);

}  // namespace backlot
