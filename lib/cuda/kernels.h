// The CUDA kernels behind backlot's operators, as functions of plain pointers and sizes: nvcc sees
// nothing of LibTorch. Each enqueues its work on `stream` and returns.
//
// Memory is as the operators of nn/fused.h say, feature maps channels-last. Sums are made in a
// fixed order without atomics, so equal inputs give equal bits.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace backlot::cuda {

enum class Type { float32, bfloat16, float16 };

// What every launch needs to know.
struct Launch {
  Type type;     // of all untyped pointers
  bool aligned;  // they are multiples of 16 bytes
  int processors;
  cudaStream_t stream;
};

// Most channels that group_norm() takes: sums of two numbers a channel stand in shared memory.
inline constexpr int64_t most_channels = 6144;

struct GroupNorm {
  const void* x;      // [batch, pixels, channels]
  const void* shift;  // [batch, channels] with shift_stride between items, or null
  int64_t shift_stride;
  const void *weight, *bias;  // [channels]
  void* y;                    // like x
  int64_t batch, pixels, channels, groups;
  int64_t pivot;  // a pixel whose values are typical: sums are of distances from it
  double eps;
  bool silu;
};

size_t group_norm_workspace(const GroupNorm& norm, const Launch& launch);  // floats
void group_norm(const GroupNorm& norm, float* workspace, const Launch& launch);

struct LayerNorm {
  void* x;        // [rows, width]; with `y`, the sum is left here
  const void* y;  // added to x before; or null
  const void *weight, *bias;
  const void *scale, *shift;  // [rows / rows_per_item, width], or null
  int64_t rows, width, rows_per_item;
  void* out;
  double eps;
};

void layer_norm(const LayerNorm& norm, const Launch& launch);

// x: [rows, 2 * width] -> y: [rows, width]
void geglu(const void* x, void* y, int64_t rows, int64_t width, const Launch& launch);

// x, y: [rows, channels]; x += bias + scale * y; bias may be null.
void residual(void* x, const void* bias, const void* y, int64_t rows, int64_t channels, float scale,
              const Launch& launch);

// output: [2, count], scales: one for each of count / per_item items -> guided: [count]
void guide(const void* output, const float* scales, float* guided, int64_t count, int64_t per_item,
           const Launch& launch);

// x: [items, per_item] -> bytes: the same, then `items` flags, which must be 0 before.
void to_bytes(const void* x, uint8_t* bytes, int64_t items, int64_t per_item, const Launch& launch);

}  // namespace backlot::cuda
