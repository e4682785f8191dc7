// The escapes of Python's string literals.
#pragma once

#include <string>
#include <string_view>

namespace backlot::jinja {

// Unknown escapes stand for themselves, backslash included. Throws std::invalid_argument for
// incomplete ones and for \N{…}, which needs the names of all characters.
std::string unescaped(std::string_view literal);

}  // namespace backlot::jinja
