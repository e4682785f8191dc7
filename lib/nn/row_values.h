// What the row kernels share: how they are compiled, values in and out of bfloat16's bits, and the
// exponential function.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

// The compiler vectorises the loops below once for each of these, and the loader picks.
#define BACKLOT_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#define BACKLOT_INLINE inline __attribute__((always_inline))

namespace backlot::rows {

BACKLOT_INLINE float widen(float x) { return x; }
BACKLOT_INLINE float widen(uint16_t x) { return std::bit_cast<float>(uint32_t{x} << 16); }

BACKLOT_INLINE void narrow(float x, float* out) { *out = x; }
// To the nearest bfloat16, ties to even.
BACKLOT_INLINE void narrow(float x, uint16_t* out) {
  const auto bits = std::bit_cast<uint32_t>(x);
  const auto rounded = static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
  *out = x != x ? uint16_t{0x7fc0} : rounded;
}

// Cephes' expf: argument reduced by multiples of ln 2, a polynomial, within 2 units in the last
// place.
BACKLOT_INLINE float exponential(float x) {
  x = std::min(std::max(x, -87.0f), 88.0f);
  constexpr float round = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const float shifted = x * 1.44269504088896341f + round;
  const float n = shifted - round;
  const float r = x - n * 0.693359375f + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const auto power = (std::bit_cast<int32_t>(shifted) - 0x4b400000 + 127) << 23;
  return p * std::bit_cast<float>(power);
}

}  // namespace backlot::rows
