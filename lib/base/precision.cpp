#include "base/precision.h"

#include <algorithm>

namespace backlot {

std::optional<Precision> precision_named(std::string_view name) {
  const auto found = std::ranges::find(precision_names, name);
  if (found == precision_names.end()) return std::nullopt;
  return static_cast<Precision>(found - precision_names.begin());
}

}  // namespace backlot
