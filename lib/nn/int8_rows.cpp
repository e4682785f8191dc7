#include "nn/int8_rows.h"

#include <algorithm>
#include <bit>

#include "nn/row_values.h"

namespace backlot::rows {
namespace {

// As integers, floats above zero keep their order, and such a maximum vectorises. A NaN is above
// all, so it shows in the scale and from there in every result.
template <class T>
BACKLOT_INLINE float magnitude(const T* x, int64_t count) {
  int32_t largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    largest = std::max(largest, std::bit_cast<int32_t>(widen(x[i])) & 0x7fffffff);
  }
  return std::bit_cast<float>(largest);
}

template <class T>
BACKLOT_INLINE void quantize_row(const T* __restrict x, int64_t count, float inverse_scale,
                                 float zero, uint8_t* __restrict q) {
  // Cutting off the fraction rounds, since nothing here is below zero.
  const float shift = zero + 0.5f;
  for (int64_t i = 0; i < count; ++i) {
    q[i] = static_cast<uint8_t>(static_cast<int32_t>(widen(x[i]) * inverse_scale + shift));
  }
}

// Rows of zeros, or of next to nothing, become zeros.
BACKLOT_INLINE float inverse(float largest, float levels) {
  return largest > 1e-30f ? levels / largest : 0.0f;
}

template <class T>
BACKLOT_INLINE void symmetric_rows(const T* x, int64_t count, int64_t channels, uint8_t* q,
                                   float* scales) {
  for (int64_t row = 0; row < count; ++row) {
    const float largest = magnitude(x + row * channels, channels);
    scales[row] = largest / 127;
    quantize_row(x + row * channels, channels, inverse(largest, 127), middle, q + row * channels);
  }
}

template <bool biased, class T>
BACKLOT_INLINE void scale_row(T* __restrict y, int64_t channels, float scale,
                              const float* __restrict bias) {
  for (int64_t c = 0; c < channels; ++c) {
    narrow(widen(y[c]) * scale + (biased ? bias[c] : 0.0f), y + c);
  }
}

template <class T>
BACKLOT_INLINE void scale_each(T* y, int64_t count, int64_t channels, const float* scales,
                               const float* bias) {
  for (int64_t row = 0; row < count; ++row) {
    if (bias)
      scale_row<true>(y + row * channels, channels, scales[row], bias);
    else
      scale_row<false>(y + row * channels, channels, scales[row], bias);
  }
}

template <class T>
BACKLOT_INLINE Range range(const T* x, int64_t count) {
  int32_t above = 0, below = 0;
  for (int64_t i = 0; i < count; ++i) {
    const auto bits = std::bit_cast<int32_t>(widen(x[i]));
    above = std::max(above, bits);
    below = std::max(below, bits ^ static_cast<int32_t>(0x80000000));
  }
  return {std::bit_cast<float>(below), std::bit_cast<float>(above)};
}

}  // namespace

BACKLOT_CLONES void quantize_rows(const float* x, int64_t count, int64_t channels, uint8_t* q,
                                  float* scales) {
  symmetric_rows(x, count, channels, q, scales);
}
BACKLOT_CLONES void quantize_rows(const uint16_t* x, int64_t count, int64_t channels, uint8_t* q,
                                  float* scales) {
  symmetric_rows(x, count, channels, q, scales);
}

BACKLOT_CLONES void scale_rows(float* y, int64_t count, int64_t channels, const float* scales,
                               const float* bias) {
  scale_each(y, count, channels, scales, bias);
}
BACKLOT_CLONES void scale_rows(uint16_t* y, int64_t count, int64_t channels, const float* scales,
                               const float* bias) {
  scale_each(y, count, channels, scales, bias);
}

BACKLOT_CLONES Range range_of(const float* x, int64_t count) { return range(x, count); }
BACKLOT_CLONES Range range_of(const uint16_t* x, int64_t count) { return range(x, count); }

BACKLOT_CLONES void quantize(const float* x, int64_t count, float inverse_scale, float zero,
                             uint8_t* q) {
  quantize_row(x, count, inverse_scale, zero, q);
}
BACKLOT_CLONES void quantize(const uint16_t* x, int64_t count, float inverse_scale, float zero,
                             uint8_t* q) {
  quantize_row(x, count, inverse_scale, zero, q);
}

}  // namespace backlot::rows
