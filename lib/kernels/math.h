// Functions of sixteen floats at a time.
#pragma once

#include "kernels/bfloat16.h"

namespace backlot::kernels {

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

// x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, the tanh by its exponential.
BACKLOT_AVX512_BF16_INLINE __m512 gelu_tanh(__m512 x) {
  const auto one = _mm512_set1_ps(1.0f);
  const auto cubic = x * _mm512_set1_ps(0.044715f) * x * x + x;
  return x / (one + exponential(cubic * _mm512_set1_ps(-2 * 0.79788456080286536f)));
}

}  // namespace backlot::kernels
