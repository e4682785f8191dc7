// Python's str, as its methods and Jinja's filters need it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace backlot::jinja {

enum class Side { left, right, both };

// Without the `characters` at the given sides; without them, without white space.
std::string stripped(std::string_view text, const std::optional<std::string>& characters,
                     Side side);

std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string capitalised(std::string_view text);

// The first `count` occurrences replaced, all if it is negative.
std::string replaced(std::string_view text, std::string_view old, std::string_view by,
                     int64_t count);

std::vector<std::string> lines_of(std::string_view text, bool keep_ends);

// At white space, or at each `separator`, `most` times if that is not negative.
std::vector<std::string> split(std::string_view text, const std::optional<std::string>& separator,
                               int64_t most, Side from);

}  // namespace backlot::jinja
