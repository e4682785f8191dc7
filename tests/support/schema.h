// Just enough of JSON Schema to hold real files against docs/schema.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <regex>
#include <string>
#include <vector>

#include "base/json.h"

namespace backlot {

inline bool has_json_type(const Json& value, const std::string& type) {
  if (type == "integer") return value.is_number_integer();
  if (type == "number") return value.is_number();
  return type == std::string(value.type_name());
}

// What is wrong with `value`, one line each, with its place: "/items/3/bytes: not a number".
inline void check_schema(const Json& value, const Json& schema, const std::string& place,
                         std::vector<std::string>& problems) {
  const auto wrong = [&](const std::string& what) { problems.push_back(place + ": " + what); };
  if (schema.contains("type")) {
    const Json& type = schema["type"];
    bool fits = false;
    for (const auto& one : type.is_array() ? type : Json::array({type}))
      fits = fits || has_json_type(value, one.get<std::string>());
    if (!fits) return wrong(fmt::format("{} is not {}", value.type_name(), type.dump()));
  }
  if (schema.contains("enum") &&
      std::find(schema["enum"].begin(), schema["enum"].end(), value) == schema["enum"].end())
    wrong(value.dump() + " is not in " + schema["enum"].dump());
  if (schema.contains("minimum") && value.is_number() && value < schema["minimum"])
    wrong(value.dump() + " is too small");
  if (schema.contains("pattern") && value.is_string() &&
      !std::regex_search(value.get<std::string>(),
                         std::regex(schema["pattern"].get<std::string>())))
    wrong(value.dump() + " does not match " + schema["pattern"].dump());
  if (value.is_array() && schema.contains("items"))
    for (size_t i = 0; i < value.size(); ++i)
      check_schema(value[i], schema["items"], fmt::format("{}/{}", place, i), problems);
  if (!value.is_object()) return;
  for (const auto& key : schema.value("required", Json::array()))
    if (!value.contains(key.get<std::string>())) wrong("lacks " + key.dump());
  const Json properties = schema.value("properties", Json::object());
  for (const auto& [key, child] : value.items()) {
    if (properties.contains(key))
      check_schema(child, properties[key], place + "/" + key, problems);
    else if (schema.value("additionalProperties", Json(true)) == false)
      wrong("has the unknown key " + key);
  }
}

inline std::vector<std::string> schema_problems(const Json& value, const Json& schema) {
  std::vector<std::string> problems;
  check_schema(value, schema, "", problems);
  return problems;
}

}  // namespace backlot
