// YAML (and so JSON) text to a checked tree.
//
// yaml-cpp scans and parses; the tree is built here from its events, because its own nodes allow
// cyclic aliases, look keys up linearly and keep duplicate keys.
#pragma once

#include <string_view>

#include "spec/tree.h"

namespace backlot {

inline constexpr uint64_t max_spec_bytes = uint64_t{16} << 20;
inline constexpr size_t max_spec_depth = 64;
inline constexpr uint64_t max_spec_nodes = 2'000'000;  // with aliases written out

// The one document of `text`. Scalars are typed by the YAML 1.2 core schema: plain null, true and
// false (in lower, Title or UPPER case), decimal, 0o17 and 0x1f integers and decimal fractions;
// everything else and everything quoted is text. So `no` is text and 007 is the number 7. `<<`
// merges mappings; aliases may repeat values but not contain themselves.
// Throws SpecError with line and column: not YAML, not UTF-8, control characters, no document or
// several, deeper or larger than the limits, a duplicate key, a key that is not text, a tag other
// than !!str, a number that is not finite or does not fit.
Value read_yaml(std::string_view text, const Sources& sources, uint32_t source);

// A plain scalar by the rules above. Throws Problem for numbers that are not finite or do not fit.
Json plain_scalar(std::string_view text);

}  // namespace backlot
