// Layer normalisation of rows, after adding another row or before AdaLN's scale and shift.
#include "cuda/launch.cuh"
#include "cuda/vector.cuh"

namespace backlot::cuda {
namespace {

template <class T>
struct Rows {
  T* x;
  const T *y, *weight, *bias, *scale, *shift;
  T* out;
  int64_t rows, rows_per_item;
  int width;
  float eps;
};

template <class T>
Rows<T> rows_of(const LayerNorm& norm) {
  return {static_cast<T*>(norm.x),
          static_cast<const T*>(norm.y),
          static_cast<const T*>(norm.weight),
          static_cast<const T*>(norm.bias),
          static_cast<const T*>(norm.scale),
          static_cast<const T*>(norm.shift),
          static_cast<T*>(norm.out),
          norm.rows,
          norm.rows_per_item,
          static_cast<int>(norm.width),
          static_cast<float>(norm.eps)};
}

// What becomes of a normalised value of column `i`; `item` is the row's place in scale and shift.
template <class T>
__device__ float finish(const Rows<T>& r, float normalised, int64_t item, int i) {
  float value = normalised * widen(r.weight[i]) + widen(r.bias[i]);
  if (r.scale) value *= 1 + widen(r.scale[item + i]);
  if (r.shift) value += widen(r.shift[item + i]);
  return value;
}

constexpr int warps_a_block = 4;

// A warp to a row, which stays in registers: V vectors of N values to a lane.
template <class T, int N, int V>
__global__ void __launch_bounds__(32 * warps_a_block) narrow_rows(Rows<T> r) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * warps_a_block + threadIdx.x / 32;
  if (row >= r.rows) return;
  const int lane = threadIdx.x % 32, vectors = r.width / N;
  T* x = r.x + row * r.width;
  float values[V][N];
  float sum = 0;
#pragma unroll
  for (int v = 0; v < V; ++v) {
    const int vector = v * 32 + lane;
    if (vector >= vectors) continue;
    auto in = load<N>(x + vector * N);
    if (r.y) {
      const auto more = load<N>(r.y + row * r.width + vector * N);
      for (int i = 0; i < N; ++i)
        in.values[i] = narrow<T>(widen(in.values[i]) + widen(more.values[i]));
      store<N>(x + vector * N, in);
    }
    for (int i = 0; i < N; ++i) {
      values[v][i] = widen(in.values[i]);
      sum += values[v][i];
    }
  }
  const float mean = warp_sum(sum) / static_cast<float>(r.width);
  float squares = 0;
#pragma unroll
  for (int v = 0; v < V; ++v) {
    if (v * 32 + lane >= vectors) continue;
    for (int i = 0; i < N; ++i) squares += (values[v][i] - mean) * (values[v][i] - mean);
  }
  const float rstd = rsqrtf(warp_sum(squares) / static_cast<float>(r.width) + r.eps);
  const int64_t item = row / r.rows_per_item * r.width;
#pragma unroll
  for (int v = 0; v < V; ++v) {
    const int vector = v * 32 + lane;
    if (vector >= vectors) continue;
    Vector<T, N> out;
    for (int i = 0; i < N; ++i)
      out.values[i] = narrow<T>(finish(r, (values[v][i] - mean) * rstd, item, vector * N + i));
    store<N>(r.out + row * r.width + vector * N, out);
  }
}

constexpr int wide_threads = 256;

__device__ float block_sum(float x) {
  __shared__ float by_warp[wide_threads / 32];
  x = warp_sum(x);
  __syncthreads();  // who reads the sum before has done so
  if (threadIdx.x % 32 == 0) by_warp[threadIdx.x / 32] = x;
  __syncthreads();
  float total = 0;
  for (const float each : by_warp) total += each;
  return total;
}

// A block to a row of any width.
template <class T>
__global__ void __launch_bounds__(wide_threads) wide_rows(Rows<T> r) {
  const int64_t row = blockIdx.x;
  T* x = r.x + row * r.width;
  float sum = 0;
  for (int i = threadIdx.x; i < r.width; i += wide_threads) {
    if (r.y) x[i] = narrow<T>(widen(x[i]) + widen(r.y[row * r.width + i]));
    sum += widen(x[i]);
  }
  const float mean = block_sum(sum) / static_cast<float>(r.width);
  float squares = 0;
  for (int i = threadIdx.x; i < r.width; i += wide_threads) {
    const float distance = widen(x[i]) - mean;
    squares += distance * distance;
  }
  const float rstd = rsqrtf(block_sum(squares) / static_cast<float>(r.width) + r.eps);
  const int64_t item = row / r.rows_per_item * r.width;
  for (int i = threadIdx.x; i < r.width; i += wide_threads)
    r.out[row * r.width + i] = narrow<T>(finish(r, (widen(x[i]) - mean) * rstd, item, i));
}

template <class T, int V>
void launch_narrow(const Rows<T>& rows, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(divide_up(rows.rows, warps_a_block));
  cuda::launch(narrow_rows<T, wide<T>, V>, blocks, 32 * warps_a_block, 0, stream, rows);
}

template <class T>
void launch_rows(const Rows<T>& rows, const Launch& launch) {
  const bool vectors = launch.aligned && rows.width % wide<T> == 0;
  const int64_t each = divide_up(rows.width / wide<T>, 32);  // vectors of a lane
  if (vectors && each <= 2) {
    launch_narrow<T, 2>(rows, launch.stream);
  } else if (vectors && each <= 3) {
    launch_narrow<T, 3>(rows, launch.stream);
  } else if (vectors && each <= 5) {
    launch_narrow<T, 5>(rows, launch.stream);
  } else if (vectors && each <= 10) {
    launch_narrow<T, 10>(rows, launch.stream);
  } else {
    cuda::launch(wide_rows<T>, static_cast<unsigned>(rows.rows), wide_threads, 0, launch.stream,
                 rows);
  }
}

}  // namespace

void layer_norm(const LayerNorm& norm, const Launch& launch) {
  by_type(launch.type, [&](auto* type) {
    launch_rows(rows_of<std::remove_pointer_t<decltype(type)>>(norm), launch);
  });
}

}  // namespace backlot::cuda
