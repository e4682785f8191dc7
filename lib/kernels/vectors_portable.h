// Eight lanes of whatever the compiler has for its own vectors.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/float16.h"

#define BACKLOT_KERNEL
#define BACKLOT_KERNEL_INLINE inline __attribute__((always_inline))
#define BACKLOT_KERNEL_LAMBDA __attribute__((always_inline))

namespace backlot::kernels {
namespace {

struct Vectors {
  static constexpr int lanes = 8;
  static constexpr int tile_rows = 3;
  static constexpr int tile_vectors = 2;
  static constexpr int attention_rows = 3;

  using Floats = float __attribute__((vector_size(32)));
  using Ints = int32_t __attribute__((vector_size(32)));
  using Words = Ints;

  BACKLOT_KERNEL_INLINE static Floats zero() { return Floats{}; }
  BACKLOT_KERNEL_INLINE static Floats all(float x) { return x - Floats{}; }
  BACKLOT_KERNEL_INLINE static Floats load(const float* at) {
    Floats x;
    std::memcpy(&x, at, sizeof x);
    return x;
  }
  BACKLOT_KERNEL_INLINE static void store(float* at, Floats x) { std::memcpy(at, &x, sizeof x); }
  BACKLOT_KERNEL_INLINE static Floats load_float16(const uint16_t* at) {
    Floats x;
    for (int i = 0; i < lanes; ++i) x[i] = from_float16(at[i]);
    return x;
  }
  BACKLOT_KERNEL_INLINE static Floats multiply_add(Floats a, Floats b, Floats c) {
    return a * b + c;
  }
  BACKLOT_KERNEL_INLINE static Floats max(Floats a, Floats b) { return a > b ? a : b; }
  BACKLOT_KERNEL_INLINE static Floats min(Floats a, Floats b) { return a < b ? a : b; }
  BACKLOT_KERNEL_INLINE static Floats magnitude(Floats x) { return (Floats)((Ints)x & 0x7fffffff); }
  BACKLOT_KERNEL_INLINE static float largest(Floats x) {
    float most = x[0];
    for (int i = 1; i < lanes; ++i) most = x[i] > most ? x[i] : most;
    return most;
  }
  BACKLOT_KERNEL_INLINE static float sum(Floats x) {
    return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
  }
  BACKLOT_KERNEL_INLINE static Floats first_lanes(int64_t count, Floats x, Floats rest) {
    const Ints at{0, 1, 2, 3, 4, 5, 6, 7};
    const int kept = count >= lanes ? lanes : count <= 0 ? 0 : static_cast<int>(count);
    return at < kept ? x : rest;
  }

  BACKLOT_KERNEL_INLINE static Ints no_sums() { return Ints{}; }
  BACKLOT_KERNEL_INLINE static Ints load_codes(const void* at) {
    Ints x;
    std::memcpy(&x, at, sizeof x);
    return x;
  }
  BACKLOT_KERNEL_INLINE static Ints low_codes(Ints x) { return x & 0x0f0f0f0f; }
  BACKLOT_KERNEL_INLINE static Ints high_codes(Ints x) { return x >> 4 & 0x0f0f0f0f; }
  BACKLOT_KERNEL_INLINE static Ints all_bytes(int32_t four) { return four - Ints{}; }
  template <int bits>
  BACKLOT_KERNEL_INLINE static Ints dot(Ints sums, Ints codes, Ints x) {
    // The first byte in memory is the lowest of a word here, on little-endian CPUs.
    sums += (codes & 0xff) * (x << 24 >> 24);
    sums += (codes >> 8 & 0xff) * (x << 16 >> 24);
    sums += (codes >> 16 & 0xff) * (x << 8 >> 24);
    sums += (codes >> 24 & 0xff) * (x >> 24);
    return sums;
  }
  template <int bits>
  BACKLOT_KERNEL_INLINE static Floats to_floats(Ints x) {
    return __builtin_convertvector(x, Floats);
  }
  BACKLOT_KERNEL_INLINE static void store_bytes(int8_t* at, Floats x) {
    for (int i = 0; i < lanes; ++i) at[i] = static_cast<int8_t>(x[i]);
  }
  BACKLOT_KERNEL_INLINE static void prefetch(const void* at) { __builtin_prefetch(at); }
};

}  // namespace
}  // namespace backlot::kernels
