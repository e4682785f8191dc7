#include "engine/language_model.h"

#include <utility>

namespace backlot {

std::optional<WeightPacking> weight_packing_named(std::string_view name) {
  constexpr std::pair<std::string_view, WeightPacking> names[] = {
      {"auto", WeightPacking::automatic},
      {"none", WeightPacking::none},
      {"int8", WeightPacking::int8},
      {"int4", WeightPacking::int4}};
  for (const auto& [known, packing] : names)
    if (known == name) return packing;
  return std::nullopt;
}

}  // namespace backlot
