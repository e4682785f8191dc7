#include "kernels/linear.h"

#include <algorithm>

#include "kernels/gemm.h"

namespace backlot::kernels {
namespace {

// Cephes' expf: argument reduced by multiples of ln 2, then a polynomial.
BACKLOT_AVX512_BF16_INLINE __m512 exponential(__m512 x) {
  x = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(-87.0f)), _mm512_set1_ps(88.0f));
  const auto n = _mm512_roundscale_ps(x * _mm512_set1_ps(1.44269504088896341f), 0);
  const auto r = x - n * _mm512_set1_ps(0.693359375f) + n * _mm512_set1_ps(2.12194440e-4f);
  auto p = _mm512_set1_ps(1.9875691500e-4f);
  for (const float each :
       {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f}) {
    p = p * r + _mm512_set1_ps(each);
  }
  return _mm512_scalef_ps(p * r * r + r + _mm512_set1_ps(1.0f), n);
}

// x Phi(x), the error function by Abramowitz and Stegun's 7.1.26 (within 1.5e-7).
BACKLOT_AVX512_BF16_INLINE __m512 gelu(__m512 x) {
  const auto one = _mm512_set1_ps(1.0f);
  const auto z = _mm512_abs_ps(x) * _mm512_set1_ps(0.70710678118654752f);
  const auto t = one / (one + _mm512_set1_ps(0.3275911f) * z);
  auto p = _mm512_set1_ps(1.061405429f);
  for (const float each : {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f}) {
    p = p * t + _mm512_set1_ps(each);
  }
  const auto tail = p * t * exponential(-z * z);  // 1 - erf(z)
  const auto half = _mm512_set1_ps(0.5f) * tail;
  const auto below = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ);
  return x * _mm512_mask_blend_ps(below, one - half, half);
}

struct StoreRows {
  template <int vectors>
  BACKLOT_AVX512_BF16_INLINE void store_row(int64_t row, const __m512 (&sums)[vectors]) const {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      const int64_t at = row * stride + lanes * v;
      auto value = sums[v] + load(bias + lanes * v);
      if (residual) value += load(residual + at);
      store(out + at, value);
    }
  }
  bfloat16* out;
  const bfloat16* residual;
  const float* bias;
  int64_t stride;
};

struct StoreGatedRows {
  template <int vectors>
  BACKLOT_AVX512_BF16_INLINE void store_row(int64_t row, const __m512 (&sums)[vectors]) const {
    constexpr int half = vectors / 2;
#pragma GCC unroll 2
    for (int v = 0; v < half; ++v) {
      const auto value = sums[v] + load(bias + lanes * v);
      store(out + row * stride + lanes * v,
            value * gelu(sums[half + v] + load(gate_bias + lanes * v)));
    }
  }
  bfloat16* out;
  const float *bias, *gate_bias;
  int64_t stride;
};

// The weight's row that is column `i` of a panel of `width` columns.
int64_t weight_row(const LinearShape& shape, int64_t panel, int64_t width, int64_t i) {
  if (shape.gate == Gate::none) return panel * columns + i;
  const int64_t half = width / 2, first = panel * columns / 2;
  return i < half ? first + i : shape.out + first + i - half;
}

template <int vectors>
BACKLOT_AVX512_BF16_INLINE void run_panel(const LinearShape& shape, const LinearRows& rows,
                                          const bfloat16* panel_weight, int64_t begin, int64_t end,
                                          int64_t panel) {
  const auto* in = rows.in + begin * shape.in;
  const auto multiply = [&](const auto& epilogue) BACKLOT_AVX512_BF16_LAMBDA {
    multiply_panel<vectors>(in, shape.in, end - begin, panel_weight, shape.in / 2, epilogue);
  };
  if (shape.gate == Gate::none) {
    const int64_t first = panel * columns, at = begin * shape.out + first;
    multiply(StoreRows{rows.out + at, rows.residual ? rows.residual + at : nullptr,
                       rows.bias + first, shape.out});
  } else if constexpr (vectors % 2 == 0) {
    const int64_t first = panel * columns / 2;
    multiply(StoreGatedRows{rows.out + begin * shape.out + first, rows.bias + first,
                            rows.bias + shape.out + first, shape.out});
  }
}

struct RunPanel {
  template <int vectors>
  BACKLOT_AVX512_BF16_INLINE void run() const {
    run_panel<vectors>(shape, rows, weight, begin, end, panel);
  }
  const LinearShape& shape;
  const LinearRows& rows;
  const bfloat16* weight;
  int64_t begin, end, panel;
};

int64_t panel_width(const LinearShape& shape, int64_t panel) {
  return std::min(columns, shape.weight_rows() - panel * columns);
}

}  // namespace

void pack_linear_weight(const LinearShape& shape, const bfloat16* weight, bfloat16* packed,
                        int64_t first, int64_t last) {
  for (int64_t panel = first; panel < last; ++panel) {
    const int64_t width = panel_width(shape, panel);
    auto* to = packed + panel * columns * shape.in;
    for (int64_t i = 0; i < width; ++i) {
      const auto* from = weight + weight_row(shape, panel, width, i) * shape.in;
      for (int64_t pair = 0; pair < shape.in / 2; ++pair) {
        std::memcpy(to + (pair * width + i) * 2, from + 2 * pair, 2 * sizeof(bfloat16));
      }
    }
  }
}

BACKLOT_AVX512_BF16 void linear_rows(const LinearShape& shape, const LinearRows& rows,
                                     const bfloat16* packed, int64_t begin, int64_t end,
                                     int64_t first, int64_t last) {
  for (int64_t panel = first; panel < last; ++panel) {
    with_vectors(panel_width(shape, panel),
                 RunPanel{shape, rows, packed + panel * columns * shape.in, begin, end, panel});
  }
}

}  // namespace backlot::kernels
