// Eight lanes of AVX2, with dot products of bytes where BACKLOT_AVX_VNNI is defined.
#pragma once

#include <immintrin.h>

#include <cstdint>

#ifdef BACKLOT_AVX_VNNI
#define BACKLOT_KERNEL __attribute__((target("avx2,fma,f16c,avxvnni")))
#define BACKLOT_KERNEL_INLINE inline __attribute__((always_inline, target("avx2,fma,f16c,avxvnni")))
#define BACKLOT_KERNEL_LAMBDA __attribute__((always_inline, target("avx2,fma,f16c,avxvnni")))
#else
#define BACKLOT_KERNEL __attribute__((target("avx2,fma,f16c")))
#define BACKLOT_KERNEL_INLINE inline __attribute__((always_inline, target("avx2,fma,f16c")))
#define BACKLOT_KERNEL_LAMBDA __attribute__((always_inline, target("avx2,fma,f16c")))
#endif

namespace backlot::kernels {
namespace {

struct Vectors {
  static constexpr int lanes = 8;
  static constexpr int tile_rows = 3;
  static constexpr int tile_vectors = 2;
  static constexpr int attention_rows = 3;

  using Floats = __m256;
  using Ints = __m256i;
  using Words = int32_t __attribute__((vector_size(32)));

  BACKLOT_KERNEL_INLINE static Floats zero() { return _mm256_setzero_ps(); }
  BACKLOT_KERNEL_INLINE static Floats all(float x) { return _mm256_set1_ps(x); }
  BACKLOT_KERNEL_INLINE static Floats load(const float* at) { return _mm256_loadu_ps(at); }
  BACKLOT_KERNEL_INLINE static void store(float* at, Floats x) { _mm256_storeu_ps(at, x); }
  BACKLOT_KERNEL_INLINE static Floats load_float16(const uint16_t* at) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
  }
  BACKLOT_KERNEL_INLINE static Floats multiply_add(Floats a, Floats b, Floats c) {
    return _mm256_fmadd_ps(a, b, c);
  }
  BACKLOT_KERNEL_INLINE static Floats max(Floats a, Floats b) { return _mm256_max_ps(a, b); }
  BACKLOT_KERNEL_INLINE static Floats min(Floats a, Floats b) { return _mm256_min_ps(a, b); }
  BACKLOT_KERNEL_INLINE static Floats magnitude(Floats x) {
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
  }
  BACKLOT_KERNEL_INLINE static float largest(Floats x) {
    auto most = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    most = _mm_max_ps(most, _mm_movehl_ps(most, most));
    return _mm_cvtss_f32(_mm_max_ss(most, _mm_movehdup_ps(most)));
  }
  BACKLOT_KERNEL_INLINE static float sum(Floats x) {
    auto sums = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    sums = _mm_add_ps(sums, _mm_movehl_ps(sums, sums));
    return _mm_cvtss_f32(_mm_add_ss(sums, _mm_movehdup_ps(sums)));
  }
  BACKLOT_KERNEL_INLINE static Floats first_lanes(int64_t count, Floats x, Floats rest) {
    const auto at = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const int kept = count >= lanes ? lanes : count <= 0 ? 0 : static_cast<int>(count);
    const auto mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(kept), at);
    return _mm256_blendv_ps(rest, x, _mm256_castsi256_ps(mask));
  }

  BACKLOT_KERNEL_INLINE static Ints no_sums() { return _mm256_setzero_si256(); }
  BACKLOT_KERNEL_INLINE static Ints load_codes(const void* at) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
  }
  BACKLOT_KERNEL_INLINE static Ints low_codes(Ints x) {
    return _mm256_and_si256(x, _mm256_set1_epi8(15));
  }
  BACKLOT_KERNEL_INLINE static Ints high_codes(Ints x) {
    return _mm256_and_si256(_mm256_srli_epi16(x, 4), _mm256_set1_epi8(15));
  }
  BACKLOT_KERNEL_INLINE static Ints all_bytes(int32_t four) { return _mm256_set1_epi32(four); }
  // Adds the dot products of four unsigned codes and four signed ones; at most 32 of each before
  // to_floats().
  template <int bits>
  BACKLOT_KERNEL_INLINE static Ints dot(Ints sums, Ints codes, Ints x) {
#ifdef BACKLOT_AVX_VNNI
    return _mm256_dpbusd_avx_epi32(sums, codes, x);
#else
    if constexpr (bits == 4) {
      // In 16 bits: a lane takes two of each four, 16 products of at most 15 * 127.
      return _mm256_add_epi16(sums, _mm256_maddubs_epi16(codes, x));
    } else {
      // Two products of eight bits may pass 16; those of half a code cannot.
      const auto low = _mm256_maddubs_epi16(low_codes(codes), x);
      const auto high = _mm256_maddubs_epi16(high_codes(codes), x);
      sums = _mm256_add_epi32(sums, _mm256_madd_epi16(low, _mm256_set1_epi16(1)));
      return _mm256_add_epi32(sums, _mm256_madd_epi16(high, _mm256_set1_epi16(16)));
    }
#endif
  }
  template <int bits>
  BACKLOT_KERNEL_INLINE static Floats to_floats(Ints x) {
#ifndef BACKLOT_AVX_VNNI
    if constexpr (bits == 4) x = _mm256_madd_epi16(x, _mm256_set1_epi16(1));
#endif
    return _mm256_cvtepi32_ps(x);
  }
  // x is whole numbers of -127 … 127.
  BACKLOT_KERNEL_INLINE static void store_bytes(int8_t* at, Floats x) {
    const auto ints = _mm256_cvtps_epi32(x);
    const auto halves =
        _mm_packs_epi32(_mm256_castsi256_si128(ints), _mm256_extracti128_si256(ints, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(at), _mm_packs_epi16(halves, halves));
  }
  BACKLOT_KERNEL_INLINE static void prefetch(const void* at) {
    _mm_prefetch(reinterpret_cast<const char*>(at), _MM_HINT_T0);
  }
};

}  // namespace
}  // namespace backlot::kernels
