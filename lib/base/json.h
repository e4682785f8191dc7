// JSON as everyone here uses it: objects keep the order in which keys were written.
#pragma once

#include <nlohmann/json.hpp>

namespace backlot {

using Json = nlohmann::ordered_json;

// Canonical text: keys sorted at every level, no spaces, numbers as nlohmann prints them (shortest
// that reads back the same), text as UTF-8. Equal values give equal bytes.
inline std::string canonical_json(const Json& value) {
  return nlohmann::json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace backlot
