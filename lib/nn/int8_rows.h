// The loops around an 8-bit product, over rows of contiguous memory; bfloat16 as its bits.
// Integers are unsigned, as x86 multiplies them: zero is at `zero`.
#pragma once

#include <cstdint>

namespace backlot::rows {

// The zero point of symmetric rows.
inline constexpr uint8_t middle = 128;

// q = round(x / scale) + middle, where scale is the row's largest magnitude / 127.
void quantize_rows(const float* x, int64_t count, int64_t channels, uint8_t* q, float* scales);
void quantize_rows(const uint16_t* x, int64_t count, int64_t channels, uint8_t* q, float* scales);

// y = y * the row's scale + bias, in place; bias may be null.
void scale_rows(float* y, int64_t count, int64_t channels, const float* scales, const float* bias);
void scale_rows(uint16_t* y, int64_t count, int64_t channels, const float* scales,
                const float* bias);

// How far the values go below and above zero.
struct Range {
  float below = 0, above = 0;  // both at least 0
};
Range range_of(const float* x, int64_t count);
Range range_of(const uint16_t* x, int64_t count);

// q = round(x * inverse_scale) + zero; the values lie in the range that the two were made for.
void quantize(const float* x, int64_t count, float inverse_scale, float zero, uint8_t* q);
void quantize(const uint16_t* x, int64_t count, float inverse_scale, float zero, uint8_t* q);

}  // namespace backlot::rows
