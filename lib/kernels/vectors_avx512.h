// Sixteen lanes of AVX-512 with dot products of bytes, and of bfloat16 pairs where
// BACKLOT_AVX512_BF16_DOTS is defined.
#pragma once

#include <immintrin.h>

#include <cstdint>

#ifdef BACKLOT_AVX512_BF16_DOTS
#define BACKLOT_AVX512_TARGET "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16,fma"
#else
#define BACKLOT_AVX512_TARGET "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma"
#endif
#define BACKLOT_KERNEL __attribute__((target(BACKLOT_AVX512_TARGET)))
#define BACKLOT_KERNEL_INLINE inline __attribute__((always_inline, target(BACKLOT_AVX512_TARGET)))
#define BACKLOT_KERNEL_LAMBDA __attribute__((always_inline, target(BACKLOT_AVX512_TARGET)))

namespace backlot::kernels {
namespace {

struct Vectors {
  static constexpr int lanes = 16;
  static constexpr int tile_rows = 6;  // with two vectors of columns the sums fill the registers
  static constexpr int tile_vectors = 2;
  static constexpr int attention_rows = 6;  // with four vectors

  using Floats = __m512;
  using Ints = __m512i;
  using Words = int32_t __attribute__((vector_size(64)));

  BACKLOT_KERNEL_INLINE static Floats zero() { return _mm512_setzero_ps(); }
  BACKLOT_KERNEL_INLINE static Floats all(float x) { return _mm512_set1_ps(x); }
  BACKLOT_KERNEL_INLINE static Floats load(const float* at) { return _mm512_loadu_ps(at); }
  BACKLOT_KERNEL_INLINE static void store(float* at, Floats x) { _mm512_storeu_ps(at, x); }
  BACKLOT_KERNEL_INLINE static Floats load_float16(const uint16_t* at) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
  }
  BACKLOT_KERNEL_INLINE static Floats multiply_add(Floats a, Floats b, Floats c) {
    return _mm512_fmadd_ps(a, b, c);
  }
  BACKLOT_KERNEL_INLINE static Floats max(Floats a, Floats b) { return _mm512_max_ps(a, b); }
  BACKLOT_KERNEL_INLINE static Floats min(Floats a, Floats b) { return _mm512_min_ps(a, b); }
  BACKLOT_KERNEL_INLINE static Floats magnitude(Floats x) { return _mm512_abs_ps(x); }
  BACKLOT_KERNEL_INLINE static float largest(Floats x) { return _mm512_reduce_max_ps(x); }
  BACKLOT_KERNEL_INLINE static float sum(Floats x) { return _mm512_reduce_add_ps(x); }
  // The first `count` lanes of x, then those of `rest`.
  BACKLOT_KERNEL_INLINE static Floats first_lanes(int64_t count, Floats x, Floats rest) {
    const auto mask = count >= lanes ? 0xffffu : count <= 0 ? 0u : (1u << count) - 1;
    return _mm512_mask_blend_ps(static_cast<__mmask16>(mask), rest, x);
  }

  BACKLOT_KERNEL_INLINE static Ints no_sums() { return _mm512_setzero_si512(); }
  BACKLOT_KERNEL_INLINE static Ints load_codes(const void* at) { return _mm512_loadu_si512(at); }
  BACKLOT_KERNEL_INLINE static Ints low_codes(Ints x) {
    return _mm512_and_si512(x, _mm512_set1_epi8(15));
  }
  BACKLOT_KERNEL_INLINE static Ints high_codes(Ints x) {
    return _mm512_and_si512(_mm512_srli_epi16(x, 4), _mm512_set1_epi8(15));
  }
  BACKLOT_KERNEL_INLINE static Ints all_bytes(int32_t four) { return _mm512_set1_epi32(four); }
  // Adds to each lane the dot product of four unsigned codes and four signed ones.
  template <int bits>
  BACKLOT_KERNEL_INLINE static Ints dot(Ints sums, Ints codes, Ints x) {
    return _mm512_dpbusd_epi32(sums, codes, x);
  }
  template <int bits>
  BACKLOT_KERNEL_INLINE static Floats to_floats(Ints x) {
    return _mm512_cvtepi32_ps(x);
  }
  // x is whole numbers of -127 … 127.
  BACKLOT_KERNEL_INLINE static void store_bytes(int8_t* at, Floats x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(at), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x)));
  }
  BACKLOT_KERNEL_INLINE static void prefetch(const void* at) {
    _mm_prefetch(reinterpret_cast<const char*>(at), _MM_HINT_T0);
  }
};

}  // namespace
}  // namespace backlot::kernels
