// Small things done to strings.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace backlot {

// `text` with control characters (C0, DEL, C1) and invalid UTF-8 written as \xNN, safe for a
// terminal and for one line of a log.
std::string printable(std::string_view text);

// True if `text` is well-formed UTF-8 (no overlong forms, no surrogates, at most U+10FFFF).
bool is_utf8(std::string_view text);

// `text` as at most `max_length` characters of [a-z0-9-]; runs of anything else become one '-',
// none at either end. Never empty: "untitled" stands for text without a letter or digit.
std::string slug(std::string_view text, size_t max_length = 60);

// The entry of `known` nearest to `word` by edit distance, or "" if none is near enough to be
// what was meant.
std::string nearest(std::string_view word, std::span<const std::string_view> known);

// "1.5 GiB", "300 KiB", "12 B"
std::string human_bytes(uint64_t bytes);

// For HTML, between tags or in an attribute's double quotes.
std::string escape_html(std::string_view text);

std::vector<std::string> split(std::string_view text, char separator);
std::string_view trim(std::string_view text);

}  // namespace backlot
