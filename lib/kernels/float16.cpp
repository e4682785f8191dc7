#include "kernels/float16.h"

namespace backlot::kernels {

uint16_t to_float16(float x) {
  const uint32_t bits = to_bits(x), sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
  if (rest > 0x7f800000) return static_cast<uint16_t>(sign | 0x7e00);
  if (rest >= 0x477ff000) return static_cast<uint16_t>(sign | 0x7c00);  // rounds past 65504
  if (rest < 0x38800000) {
    // Subnormal: adding 1/2 puts the unit of a subnormal float16 last in the sum's bits.
    const float sum = from_bits(rest) + 0.5f;
    return static_cast<uint16_t>(sign | (to_bits(sum) - to_bits(0.5f)));
  }
  const uint32_t rounded = rest + 0xfff + (rest >> 13 & 1);
  return static_cast<uint16_t>(sign | (rounded - 0x38000000) >> 13);
}

}  // namespace backlot::kernels
