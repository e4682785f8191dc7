#include "weights/random_weights.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace backlot {
namespace {

// Values made at a time, and the least that one thread takes: a tensor's values do not depend on
// how it was cut.
constexpr int64_t block = 4096;
constexpr int64_t blocks_a_thread = 16;

// The compiler vectorises what carries this once for each of these, and the loader picks.
#define BACKLOT_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))

uint64_t fnv1a(std::string_view text, uint64_t hash = 0xcbf29ce484222325) {
  for (const unsigned char letter : text) hash = (hash ^ letter) * 0x100000001b3;
  return hash;
}

// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators) by its counter.
inline uint64_t mix(uint64_t counter) {
  uint64_t z = counter * 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

// Uniform in (-1, 1): 2^16 different values, of which no 16-bit dtype shows more.
BACKLOT_CLONES void fill_block(uint64_t seed, int64_t number, float* out) {
  for (int64_t i = 0; i < block / 4; ++i) {
    const uint64_t bits = mix(seed + static_cast<uint64_t>(number * (block / 4) + i));
    for (int part = 0; part < 4; ++part) {
      const auto value = static_cast<int16_t>(bits >> (16 * part));
      out[4 * i + part] = (static_cast<float>(value) + 0.5f) * (1.0f / 32768.0f);
    }
  }
}

template <class T>
BACKLOT_CLONES void scale_block(const float* values, int64_t count, float bound, T* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = static_cast<T>(values[i] * bound);
}

template <class T>
void fill(uint64_t seed, float bound, int64_t count, T* out) {
  at::parallel_for(
      0, (count + block - 1) / block, blocks_a_thread, [&](int64_t begin, int64_t end) {
        std::array<float, block> values;
        for (int64_t number = begin; number < end; ++number) {
          fill_block(seed, number, values.data());
          const int64_t first = number * block;
          scale_block(values.data(), std::min(block, count - first), bound, out + first);
        }
      });
}

struct Range {
  float centre, bound;
};

// Biases have no input whose width could scale them: their own stands for it.
Range initial_range(std::string_view name, at::IntArrayRef shape) {
  const auto dot = name.rfind('.');
  const auto layer = name.substr(0, dot == std::string_view::npos ? 0 : dot);
  const auto kind = name.substr(dot == std::string_view::npos ? 0 : dot + 1);
  const auto contains = [&](std::string_view part) { return layer.find(part) != layer.npos; };
  if (shape.size() <= 1 && contains("norm")) return {kind == "weight" ? 1.0f : 0.0f, 0.0f};
  if (kind == "gamma") return {1.0f, 0.0f};
  if (shape.size() == 2 &&
      (layer.ends_with("token_embedding") || layer.ends_with("position_embedding"))) {
    return {0.0f, 0.02f * std::sqrt(3.0f)};
  }
  const int64_t fan_in =
      shape.size() > 1 ? c10::multiply_integers(shape.slice(1)) : c10::multiply_integers(shape);
  return {0.0f, 1.0f / std::sqrt(static_cast<float>(std::max<int64_t>(fan_in, 1)))};
}

}  // namespace

RandomWeights::RandomWeights(std::string_view place) : seed_(fnv1a(place)) {}

at::Tensor RandomWeights::make(std::string_view name, at::IntArrayRef shape,
                               const at::TensorOptions& options) const {
  const auto [centre, bound] = initial_range(name, shape);
  return bound == 0 ? at::full(shape, centre, options) : uniform(name, bound, shape, options);
}

at::Tensor RandomWeights::uniform(std::string_view name, float bound, at::IntArrayRef shape,
                                  const at::TensorOptions& options) const {
  if (options.device().is_meta()) return at::empty(shape, options);
  auto tensor = at::empty(shape, options.device(at::kCPU));
  const uint64_t seed = mix(fnv1a(name, seed_));
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kBFloat16, at::kHalf, tensor.scalar_type(), "random_weights",
      [&] { fill(seed, bound, tensor.numel(), tensor.mutable_data_ptr<scalar_t>()); });
  return tensor.to(options.device());
}

}  // namespace backlot
