#include "base/precision.h"

namespace backlot {

std::optional<Precision> precision_named(std::string_view name) {
  if (name == "auto") return Precision::automatic;
  if (name == "float32") return Precision::float32;
  if (name == "bfloat16") return Precision::bfloat16;
  if (name == "float16") return Precision::float16;
  return std::nullopt;
}

}  // namespace backlot
