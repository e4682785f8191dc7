// The bits of a float16 and of a bfloat16, on any CPU.
#pragma once

#include <cstdint>
#include <cstring>

namespace backlot::kernels {

inline float from_bits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

inline uint32_t to_bits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

inline float from_float16(uint16_t half) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16, rest = half & 0x7fffu;
  if (rest >= 0x7c00) return from_bits(sign | 0x7f800000 | (rest & 0x3ff) << 13);
  // 2^112 mends the exponent's bias, of subnormal numbers too.
  return from_bits(sign | to_bits(from_bits(rest << 13) * 0x1p112f));
}

// To the nearest float16, ties to even; infinity where it is too large.
uint16_t to_float16(float x);

// To the nearest bfloat16, ties to even.
inline uint16_t to_bfloat16(float x) {
  const uint32_t bits = to_bits(x);
  if (x != x) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline float from_bfloat16(uint16_t half) { return from_bits(uint32_t{half} << 16); }

}  // namespace backlot::kernels
