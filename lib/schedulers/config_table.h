// The config keys of each sampler class, with types and defaults, as data.
//
// Reference: the __init__ signatures in diffusers 0.42.1, src/diffusers/schedulers/.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

namespace backlot {

enum class KeyKind { integer, number, boolean, text, numbers, integers };

struct ConfigKey {
  std::string_view name;
  KeyKind kind;
  Json preset;                                 // the class default; null if null is allowed
  std::vector<std::string_view> choices = {};  // of a text key
  // Other samplers' words for a text key, which the class reads as one of its own.
  std::vector<std::pair<std::string_view, std::string_view>> aliases = {};
  bool fixed = false;  // the reference has more than the default, backlot has not
};

struct SchedulerClass {
  std::string_view name;
  std::vector<ConfigKey> keys;
};

// A short name: a class and the keys that make it that sampler.
struct SchedulerName {
  std::string_view name, class_name;
  Json keys;
};

const std::vector<SchedulerClass>& scheduler_classes();
const std::vector<SchedulerName>& scheduler_name_table();

}  // namespace backlot
