#include "base/quantization.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "base/error.h"

namespace backlot {
namespace {

// Without them oneDNN adds products in 16 bits, which overflow.
bool has_dot_products() {
  return __builtin_cpu_supports("avx512vnni") || __builtin_cpu_supports("avxvnni");
}

}  // namespace

std::string_view quantization_name(Quantization quantization) {
  return quantization_names[static_cast<size_t>(quantization)];
}

std::optional<Quantization> quantization_named(std::string_view name) {
  const auto found = std::ranges::find(quantization_names, name);
  if (found == quantization_names.end()) return std::nullopt;
  return static_cast<Quantization>(found - quantization_names.begin());
}

void insist_on_quantization(Quantization quantization, std::string_view device) {
  if (quantization == Quantization::none) return;
  const bool cpu = device == "cpu";
  const auto refuse = [&](std::string why, std::string mend) {
    throw EnvironmentError(fmt::format("--quantize {}", quantization_name(quantization)),
                           std::move(why), std::move(mend));
  };
  if (quantization == Quantization::fp8 && cpu)
    refuse("needs an NVIDIA GPU of the Ada or Hopper generation or later, and the device is cpu",
           has_dot_products() ? "int8 works here, or leave it out" : "leave it out");
  if (quantization == Quantization::int8 && !cpu)
    refuse(fmt::format("works on the CPU only, and the device is {}", device),
           "give fp8 on an Ada or Hopper GPU, or leave it out");
  if (quantization == Quantization::int8 && !has_dot_products())
    refuse("needs a processor with VNNI instructions, which this one lacks",
           "leave it out; nothing is gained here");
}

}  // namespace backlot
