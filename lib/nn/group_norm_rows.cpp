#include "nn/group_norm_rows.h"

#include <algorithm>
#include <vector>

#include "nn/row_values.h"

namespace backlot::rows {
namespace {

// Few enough that float sums stay exact to a few units in the last place.
constexpr int64_t rows_in_float = 32;

template <class T>
BACKLOT_INLINE void moments(const T* x, const T* pivot, int64_t count, int64_t channels,
                            double* sums, double* squares) {
  std::vector<float> block(3 * static_cast<size_t>(channels));
  float* __restrict sum = block.data();
  float* __restrict square = sum + channels;
  float* __restrict middle = square + channels;
  for (int64_t c = 0; c < channels; ++c) middle[c] = widen(pivot[c]);
  for (int64_t begin = 0; begin < count; begin += rows_in_float) {
    std::fill(sum, sum + 2 * channels, 0.0f);
    const int64_t end = std::min(count, begin + rows_in_float);
    for (int64_t row = begin; row < end; ++row) {
      const T* __restrict in = x + row * channels;
      for (int64_t c = 0; c < channels; ++c) {
        const float value = widen(in[c]) - middle[c];
        sum[c] += value;
        square[c] += value * value;
      }
    }
    for (int64_t c = 0; c < channels; ++c) {
      sums[c] += sum[c];
      squares[c] += square[c];
    }
  }
}

template <bool silu, class T>
BACKLOT_INLINE void transform(const T* x, T* y, int64_t count, int64_t channels,
                              const float* __restrict scale, const float* __restrict shift) {
  for (int64_t row = 0; row < count; ++row) {
    const T* __restrict in = x + row * channels;
    T* __restrict out = y + row * channels;
    for (int64_t c = 0; c < channels; ++c) {
      float value = widen(in[c]) * scale[c] + shift[c];
      if constexpr (silu) value = value / (1.0f + exponential(-value));
      narrow(value, out + c);
    }
  }
}

}  // namespace

BACKLOT_CLONES void add_moments(const float* x, const float* pivot, int64_t count, int64_t channels,
                                double* sums, double* squares) {
  moments(x, pivot, count, channels, sums, squares);
}
BACKLOT_CLONES void add_moments(const uint16_t* x, const uint16_t* pivot, int64_t count,
                                int64_t channels, double* sums, double* squares) {
  moments(x, pivot, count, channels, sums, squares);
}

void widen_row(const float* row, int64_t channels, float* out) {
  std::copy(row, row + channels, out);
}
void widen_row(const uint16_t* row, int64_t channels, float* out) {
  for (int64_t c = 0; c < channels; ++c) out[c] = widen(row[c]);
}

BACKLOT_CLONES void scale_and_shift(const float* x, float* y, int64_t count, int64_t channels,
                                    const float* scale, const float* shift) {
  transform<false>(x, y, count, channels, scale, shift);
}
BACKLOT_CLONES void scale_and_shift(const uint16_t* x, uint16_t* y, int64_t count, int64_t channels,
                                    const float* scale, const float* shift) {
  transform<false>(x, y, count, channels, scale, shift);
}

BACKLOT_CLONES void scale_shift_silu(const float* x, float* y, int64_t count, int64_t channels,
                                     const float* scale, const float* shift) {
  transform<true>(x, y, count, channels, scale, shift);
}
BACKLOT_CLONES void scale_shift_silu(const uint16_t* x, uint16_t* y, int64_t count,
                                     int64_t channels, const float* scale, const float* shift) {
  transform<true>(x, y, count, channels, scale, shift);
}

}  // namespace backlot::rows
