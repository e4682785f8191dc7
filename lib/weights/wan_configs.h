// Wan 2.1's text-to-video models as published, but for their weights.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace backlot {

// "wan-1.3b", "wan-14b"
bool is_published_wan(std::string_view architecture);

Json wan_index();  // model_index.json

// component/config.json (scheduler/scheduler_config.json) of a published architecture. Throws
// LoadError: no such component.
Json published_wan_config(std::string_view component, std::string_view architecture);

}  // namespace backlot
