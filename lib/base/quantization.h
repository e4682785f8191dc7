// Layers in narrower numbers than the model's own: faster, and the picture changes a little.
#pragma once

#include <array>
#include <optional>
#include <string_view>

namespace backlot {

// int8: weights per output channel, activations per token or per picture, on a CPU.
// fp8: weights and activations in e4m3 with a scale per row, on a GPU.
enum class Quantization { none, int8, fp8 };

// In the order of Quantization.
constexpr std::array<std::string_view, 3> quantization_names = {"none", "int8", "fp8"};

std::string_view quantization_name(Quantization quantization);
std::optional<Quantization> quantization_named(std::string_view name);

// Throws EnvironmentError, naming what works there, unless a device of that name ("cpu", "cuda:0")
// and this processor can. What a GPU's generation can only the engine finds out.
void insist_on_quantization(Quantization quantization, std::string_view device);

}  // namespace backlot
