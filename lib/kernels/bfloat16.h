// The instructions that the kernels here are written in: AVX-512 with dot products of bfloat16
// pairs (vdpbf16ps). Callers ask has_bfloat16_dot() before they come here.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#define BACKLOT_AVX512_BF16 \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,fma")))
#define BACKLOT_AVX512_BF16_INLINE                                                             \
  inline __attribute__((always_inline, target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16," \
                                              "fma")))
// For lambdas, which take attributes after their parameters.
#define BACKLOT_AVX512_BF16_LAMBDA \
  __attribute__((always_inline, target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,fma")))

namespace backlot::kernels {

// The bits of a bfloat16: the upper half of a float's.
using bfloat16 = uint16_t;

constexpr int64_t lanes = 16;    // floats in a register
constexpr int64_t columns = 64;  // output channels that a micro-kernel works on at a time

bool has_bfloat16_dot();

// Whether this CPU multiplies bfloat16 matrices in tiles (AMX), which oneDNN's kernels use.
bool has_bfloat16_tiles();

BACKLOT_AVX512_BF16_INLINE __m512 load(const float* at) { return _mm512_loadu_ps(at); }
BACKLOT_AVX512_BF16_INLINE __m512 load(const bfloat16* at) {
  const auto half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
BACKLOT_AVX512_BF16_INLINE __m512bh load_pairs(const bfloat16* at) {
  return (__m512bh)_mm512_loadu_si512(at);
}
// The same two values in every lane.
BACKLOT_AVX512_BF16_INLINE __m512bh repeat_pair(const bfloat16* at) {
  int32_t pair;
  std::memcpy(&pair, at, sizeof pair);
  return (__m512bh)_mm512_set1_epi32(pair);
}
// To the nearest bfloat16, ties to even.
BACKLOT_AVX512_BF16_INLINE void store(bfloat16* at, __m512 x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), (__m256i)_mm512_cvtneps_pbh(x));
}
BACKLOT_AVX512_BF16_INLINE void store(float* at, __m512 x) { _mm512_storeu_ps(at, x); }

}  // namespace backlot::kernels
