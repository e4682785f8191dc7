// Items and output settings as JSON, whole: what travels between processes and machines.
#pragma once

#include "base/json.h"
#include "spec/item.h"

namespace backlot {

Json to_json(const Item& item);
Json to_json(const OutputSettings& settings);

// Throw Json::exception if a key is missing or of another type.
Item item_from_json(const Json& json);
OutputSettings output_settings_from_json(const Json& json);

}  // namespace backlot
