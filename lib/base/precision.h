// The numbers that networks compute in.
#pragma once

#include <array>
#include <optional>
#include <string_view>

namespace backlot {

// `automatic` is what is fastest on the device with a picture that stays the same to the eye.
enum class Precision { automatic, float32, bfloat16, float16 };

// In the order of Precision.
constexpr std::array<std::string_view, 4> precision_names = {"auto", "float32", "bfloat16",
                                                             "float16"};

std::optional<Precision> precision_named(std::string_view name);

}  // namespace backlot
