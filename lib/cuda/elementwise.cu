// Steps that read each value once: GEGLU, residuals, guidance, and pictures as bytes.
#include <algorithm>

#include "cuda/launch.cuh"
#include "cuda/vector.cuh"

namespace backlot::cuda {
namespace {

template <class T, int N>
__global__ void __launch_bounds__(256)
    geglu_rows(const T* __restrict__ x, T* __restrict__ y, int width) {
  const int64_t row = blockIdx.x;
  const T* hidden = x + row * 2 * width;
  const T* gate = hidden + width;
  for (int i = threadIdx.x * N; i < width; i += blockDim.x * N) {
    const auto h = load<N>(hidden + i), g = load<N>(gate + i);
    Vector<T, N> out;
    for (int j = 0; j < N; ++j) {
      const float z = widen(g.values[j]);
      const float gelu = 0.5f * z * (1 + erff(z * 0.70710678118654752f));
      out.values[j] = narrow<T>(widen(h.values[j]) * gelu);
    }
    store<N>(y + row * width + i, out);
  }
}

template <class T, int N>
__global__ void __launch_bounds__(512)
    add_residual(T* __restrict__ x, const T* __restrict__ bias, const T* __restrict__ y, Tile tile,
                 int64_t rows, float scale) {
  const int row_in_tile = threadIdx.x / tile.width;
  if (row_in_tile >= tile.rows) return;
  const int64_t channels = static_cast<int64_t>(tile.columns) * N;
  for (int column = threadIdx.x % tile.width; column < tile.columns; column += tile.width) {
    float added[N];
    for (int i = 0; i < N; ++i) added[i] = bias ? widen(bias[column * N + i]) : 0.0f;
#pragma unroll 2
    for (int64_t row = static_cast<int64_t>(blockIdx.x) * tile.rows + row_in_tile; row < rows;
         row += static_cast<int64_t>(gridDim.x) * tile.rows) {
      const int64_t at = row * channels + column * N;
      auto v = load<N>(x + at);
      const auto more = load<N>(y + at);
      for (int i = 0; i < N; ++i)
        v.values[i] = narrow<T>(widen(v.values[i]) + added[i] + scale * widen(more.values[i]));
      store<N>(x + at, v);
    }
  }
}

template <class T>
__global__ void guide_values(const T* __restrict__ output, const float* __restrict__ scales,
                             float* __restrict__ guided, int64_t count, int64_t per_item) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const float negative = widen(output[i]), positive = widen(output[count + i]);
  guided[i] = negative + scales[i / per_item] * (positive - negative);
}

template <class T, int N>
__global__ void bytes_of(const T* __restrict__ x, uint8_t* __restrict__ bytes, int64_t per_item,
                         uint8_t* __restrict__ broken) {
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * N;
  if (i >= per_item) return;
  const int64_t at = blockIdx.y * per_item + i;
  const auto in = load<N>(x + at);
  Vector<uint8_t, N> out;
  bool finite = true;
  for (int j = 0; j < N; ++j) {
    const float value = widen(in.values[j]);
    finite = finite && isfinite(value);
    out.values[j] =
        static_cast<uint8_t>(rintf(fminf(fmaxf(value * 0.5f + 0.5f, 0.0f), 1.0f) * 255.0f));
  }
  store<N>(bytes + at, out);
  if (!finite) broken[blockIdx.y] = 1;  // whoever writes, it is the same
}

constexpr int threads = 256;

}  // namespace

void geglu(const void* x, void* y, int64_t rows, int64_t width, const Launch& launch) {
  by_type(launch.type, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const bool vectors = launch.aligned && width % wide<T> == 0;
    const int64_t columns = vectors ? width / wide<T> : width;
    const auto kernel = vectors ? geglu_rows<T, wide<T>> : geglu_rows<T, 1>;
    const auto block = static_cast<unsigned>(std::min<int64_t>(256, divide_up(columns, 32) * 32));
    cuda::launch(kernel, static_cast<unsigned>(rows), block, 0, launch.stream,
                 static_cast<const T*>(x), static_cast<T*>(y), static_cast<int>(width));
  });
}

void residual(void* x, const void* bias, const void* y, int64_t rows, int64_t channels, float scale,
              const Launch& launch) {
  by_type(launch.type, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const bool vectors = launch.aligned && channels % wide<T> == 0;
    const Tile tile = tile_over(vectors ? channels / wide<T> : channels);
    const auto kernel = vectors ? add_residual<T, wide<T>> : add_residual<T, 1>;
    const int64_t blocks =
        std::min<int64_t>(divide_up(rows, tile.rows), 8 * int64_t{launch.processors});
    cuda::launch(kernel, static_cast<unsigned>(blocks), tile.threads, 0, launch.stream,
                 static_cast<T*>(x), static_cast<const T*>(bias), static_cast<const T*>(y), tile,
                 rows, scale);
  });
}

void guide(const void* output, const float* scales, float* guided, int64_t count, int64_t per_item,
           const Launch& launch) {
  by_type(launch.type, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    cuda::launch(guide_values<T>, static_cast<unsigned>(divide_up(count, threads)), threads, 0,
                 launch.stream, static_cast<const T*>(output), scales, guided, count, per_item);
  });
}

void to_bytes(const void* x, uint8_t* bytes, int64_t items, int64_t per_item,
              const Launch& launch) {
  by_type(launch.type, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    constexpr int together = 4;
    const bool vectors = launch.aligned && per_item % together == 0;
    const auto kernel = vectors ? bytes_of<T, together> : bytes_of<T, 1>;
    const int64_t columns = vectors ? per_item / together : per_item;
    const dim3 grid(static_cast<unsigned>(divide_up(columns, threads)),
                    static_cast<unsigned>(items));
    cuda::launch(kernel, grid, threads, 0, launch.stream, static_cast<const T*>(x), bytes, per_item,
                 bytes + items * per_item);
  });
}

}  // namespace backlot::cuda
