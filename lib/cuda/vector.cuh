// Loads of several values at once, and their conversion from and to float.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cuda/kernels.h"

namespace backlot::cuda {

template <class T, int N>
struct alignas(sizeof(T) * N) Vector {
  T values[N];
};

template <int N, class T>
__device__ Vector<T, N> load(const T* from) {
  return *reinterpret_cast<const Vector<T, N>*>(from);
}

template <int N, class T>
__device__ void store(T* to, const Vector<T, N>& vector) {
  *reinterpret_cast<Vector<T, N>*>(to) = vector;
}

__device__ inline float widen(float x) { return x; }
__device__ inline float widen(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ inline float widen(__half x) { return __half2float(x); }

template <class T>
__device__ T narrow(float x);
template <>
__device__ inline float narrow<float>(float x) {
  return x;
}
template <>
__device__ inline __nv_bfloat16 narrow<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}
template <>
__device__ inline __half narrow<__half>(float x) {
  return __float2half_rn(x);
}

// The sum over a warp, in the same order always; every lane gets it.
template <class T>
__device__ T warp_sum(T x) {
  for (int distance = 16; distance > 0; distance /= 2)
    x += __shfl_xor_sync(0xffffffffu, x, distance);
  return x;
}

// Calls `work` with a null pointer of the type that `type` names.
template <class Work>
void by_type(Type type, Work work) {
  switch (type) {
    case Type::float32:
      return work(static_cast<float*>(nullptr));
    case Type::bfloat16:
      return work(static_cast<__nv_bfloat16*>(nullptr));
    case Type::float16:
      return work(static_cast<__half*>(nullptr));
  }
}

// Values in a load of 16 bytes.
template <class T>
inline constexpr int wide = 16 / sizeof(T);

// How a block of threads stands over rows of `columns` vectors: `width` side by side, `rows` deep.
// A thread keeps to its column, so that what belongs to a channel stays in its registers.
struct Tile {
  int columns, width, rows, threads;
};

inline Tile tile_over(int64_t columns) {
  constexpr int most = 512;
  const int width = static_cast<int>(columns < most ? columns : most);
  const int rows = most / width;
  return {static_cast<int>(columns), width, rows, (width * rows + 31) / 32 * 32};
}

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace backlot::cuda
