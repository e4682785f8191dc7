// What the row kernels share: how they are compiled, and values in and out of bfloat16's bits.
#pragma once

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

}  // namespace backlot::rows
