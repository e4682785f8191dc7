// An entry of the result cache as the bytes of its file: the SHA-256 of a line of JSON, that line,
// and the output itself, whose own SHA-256 is in the line.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "run/result_cache.h"

namespace backlot {

// Of the cache: entries/ab/abcdef…
inline constexpr const char* cache_entries_folder = "entries";

std::string encode_entry(std::string_view key, const CachedOutput& output,
                         std::string_view version);

// Nothing if the bytes are not whole, were changed, or are another key's.
std::optional<CachedOutput> decode_entry(std::string bytes, std::string_view key);

// The rest of an open file, named `path` in errors.
std::string read_whole(int fd, const fs::path& path);

}  // namespace backlot
