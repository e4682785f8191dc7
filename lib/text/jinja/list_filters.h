// Jinja2's filters for lists and dicts.
#pragma once

#include <string_view>

#include "text/jinja/interpreter.h"

namespace backlot::jinja {

// nullptr if there is none of the name.
Native find_list_filter(std::string_view name);

}  // namespace backlot::jinja
