// Sizes and durations as people write them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace backlot {

// Bytes from "12345", "10MB" (powers of 1000) or "10MiB" (of 1024), up to TB and TiB, fractions
// allowed; at least 1 and at most 10^15. Nothing for other text.
std::optional<uint64_t> parse_bytes(std::string_view text);

// Seconds from "90s", "15m", "36h", "30d" or "2w", fractions allowed; more than 0 and at most 100
// years. A number needs its unit. Nothing for other text.
std::optional<double> parse_duration(std::string_view text);

}  // namespace backlot
