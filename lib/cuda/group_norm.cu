// Group normalisation over channels-last maps: moments of chunks of pixels, then each channel's
// factor and summand, then y = silu(x * factor + summand). The map is read twice and written once.
#include <algorithm>

#include "cuda/launch.cuh"
#include "cuda/vector.cuh"

namespace backlot::cuda {
namespace {

struct Geometry {
  Tile tile;
  int channels, groups, group_width;
  int64_t pixels, pivot, shift_stride;
  int chunk, chunks;  // pixels of a block; blocks of an item
};

// What the sums of group `group` are distances from.
template <class T>
__device__ float pivot_of(const T* item, const T* shift, const Geometry& g, int group) {
  const int channel = group * g.group_width;
  return widen(item[g.pivot * g.channels + channel]) + (shift ? widen(shift[channel]) : 0.0f);
}

// Sums and sums of squares of each group over a chunk: partial is [batch, chunks, groups, 2].
template <class T, int N>
__global__ void __launch_bounds__(512)
    moments(const T* __restrict__ x, const T* __restrict__ shifts, Geometry g,
            float* __restrict__ partial) {
  float* shared = dynamic_shared();  // [2, tile.rows, channels]
  float* sums = shared;
  float* squares = shared + g.tile.rows * g.channels;
  const int64_t item = blockIdx.y;
  const T* from = x + item * g.pixels * g.channels;
  const T* shift = shifts ? shifts + item * g.shift_stride : nullptr;
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * g.chunk;
  const int64_t end = min(begin + g.chunk, g.pixels);
  const int row_in_tile = threadIdx.x / g.tile.width;
  if (row_in_tile < g.tile.rows) {
    for (int column = threadIdx.x % g.tile.width; column < g.tile.columns; column += g.tile.width) {
      const int channel = column * N;
      float pivot[N], sum[N], square[N];
      for (int i = 0; i < N; ++i) {
        pivot[i] = pivot_of(from, shift, g, (channel + i) / g.group_width) -
                   (shift ? widen(shift[channel + i]) : 0.0f);
        sum[i] = square[i] = 0;
      }
#pragma unroll 4
      for (int64_t row = begin + row_in_tile; row < end; row += g.tile.rows) {
        const auto v = load<N>(from + row * g.channels + channel);
        for (int i = 0; i < N; ++i) {
          const float distance = widen(v.values[i]) - pivot[i];
          sum[i] += distance;
          square[i] += distance * distance;
        }
      }
      for (int i = 0; i < N; ++i) {
        sums[row_in_tile * g.channels + channel + i] = sum[i];
        squares[row_in_tile * g.channels + channel + i] = square[i];
      }
    }
  }
  __syncthreads();
  const int lane = threadIdx.x % 32, warps = blockDim.x / 32;
  for (int group = threadIdx.x / 32; group < g.groups; group += warps) {
    float sum = 0, square = 0;
    for (int i = lane; i < g.tile.rows * g.group_width; i += 32) {
      const int at = i / g.group_width * g.channels + group * g.group_width + i % g.group_width;
      sum += sums[at];
      square += squares[at];
    }
    sum = warp_sum(sum);
    square = warp_sum(square);
    if (lane == 0) {
      float* out = partial + ((item * g.chunks + blockIdx.x) * g.groups + group) * 2;
      out[0] = sum;
      out[1] = square;
    }
  }
}

// A warp for each group of each item: by_channel is [batch, 2, channels].
template <class T>
__global__ void coefficients(const T* __restrict__ x, const T* __restrict__ shifts,
                             const T* __restrict__ weight, const T* __restrict__ bias,
                             const float* __restrict__ partial, Geometry g, int64_t batch,
                             double eps, float* __restrict__ by_channel) {
  const int64_t warp = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
  const int lane = threadIdx.x % 32;
  if (warp >= batch * g.groups) return;
  const int64_t item = warp / g.groups;
  const int group = static_cast<int>(warp % g.groups);
  double sum = 0, square = 0;
  for (int chunk = lane; chunk < g.chunks; chunk += 32) {
    const float* at = partial + ((item * g.chunks + chunk) * g.groups + group) * 2;
    sum += at[0];
    square += at[1];
  }
  const double count = static_cast<double>(g.pixels) * g.group_width;
  const double distance = warp_sum(sum) / count;
  const double variance = warp_sum(square) / count - distance * distance;
  const double rstd = 1 / sqrt((variance > 0 ? variance : 0) + eps);
  const T* shift = shifts ? shifts + item * g.shift_stride : nullptr;
  const double mean = pivot_of(x + item * g.pixels * g.channels, shift, g, group) + distance;
  float* factor = by_channel + item * 2 * g.channels;
  for (int i = lane; i < g.group_width; i += 32) {
    const int channel = group * g.group_width + i;
    const double each = rstd * widen(weight[channel]);
    const double moved = shift ? widen(shift[channel]) : 0.0f;
    factor[channel] = static_cast<float>(each);
    factor[g.channels + channel] = static_cast<float>(widen(bias[channel]) + (moved - mean) * each);
  }
}

template <bool exact>
__device__ float silu(float x) {
  // Below -88 the divisor is infinite and the quotient -0, as it should be.
  return exact ? x / (1 + expf(-x)) : __fdividef(x, 1 + __expf(-x));
}

template <class T, int N, bool with_silu>
__global__ void __launch_bounds__(512)
    apply(const T* __restrict__ x, const float* __restrict__ by_channel, T* __restrict__ y,
          Geometry g) {
  const int64_t item = blockIdx.y;
  const float* factors = by_channel + item * 2 * g.channels;
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * g.chunk;
  const int64_t end = min(begin + g.chunk, g.pixels);
  const int row_in_tile = threadIdx.x / g.tile.width;
  if (row_in_tile >= g.tile.rows) return;
  for (int column = threadIdx.x % g.tile.width; column < g.tile.columns; column += g.tile.width) {
    const int channel = column * N;
    float factor[N], summand[N];
    for (int i = 0; i < N; ++i) {
      factor[i] = factors[channel + i];
      summand[i] = factors[g.channels + channel + i];
    }
#pragma unroll 4
    for (int64_t row = begin + row_in_tile; row < end; row += g.tile.rows) {
      const int64_t at = (item * g.pixels + row) * g.channels + channel;
      const auto in = load<N>(x + at);
      Vector<T, N> out;
      for (int i = 0; i < N; ++i) {
        float value = widen(in.values[i]) * factor[i] + summand[i];
        if (with_silu) value = silu<sizeof(T) == 4>(value);
        out.values[i] = narrow<T>(value);
      }
      store<N>(y + at, out);
    }
  }
}

int vector_width(const GroupNorm& norm, const Launch& launch) {
  const int most = launch.type == Type::float32 ? 4 : 8;
  return launch.aligned && norm.channels % most == 0 ? most : 1;
}

Geometry geometry_of(const GroupNorm& norm, const Launch& launch) {
  const Tile tile = tile_over(norm.channels / vector_width(norm, launch));
  // Enough blocks for every processor to hold a few, and enough rows for a thread to be worth it.
  const int64_t blocks = std::max<int64_t>(1, 4 * launch.processors / norm.batch);
  const int64_t least = 4 * tile.rows;
  const int64_t chunk = std::max(least, divide_up(norm.pixels, blocks));
  Geometry g{};
  g.tile = tile;
  g.channels = static_cast<int>(norm.channels);
  g.groups = static_cast<int>(norm.groups);
  g.group_width = static_cast<int>(norm.channels / norm.groups);
  g.pixels = norm.pixels;
  g.pivot = norm.pivot;
  g.shift_stride = norm.shift_stride;
  g.chunk = static_cast<int>(chunk);
  g.chunks = static_cast<int>(divide_up(norm.pixels, chunk));
  return g;
}

size_t partial_floats(const GroupNorm& norm, const Geometry& g) {
  return static_cast<size_t>(norm.batch * g.chunks * norm.groups * 2);
}

template <class T, int N>
void launch_all(const GroupNorm& norm, const Geometry& g, float* workspace, const Launch& launch) {
  const auto* x = static_cast<const T*>(norm.x);
  const auto* shift = static_cast<const T*>(norm.shift);
  float* by_channel = workspace + partial_floats(norm, g);
  const dim3 grid(static_cast<unsigned>(g.chunks), static_cast<unsigned>(norm.batch));
  const size_t shared = 2 * sizeof(float) * static_cast<size_t>(g.tile.rows * g.channels);
  cuda::launch(moments<T, N>, grid, g.tile.threads, shared, launch.stream, x, shift, g, workspace);
  constexpr int warps = 4;
  const auto blocks = static_cast<unsigned>(divide_up(norm.batch * norm.groups, warps));
  cuda::launch(coefficients<T>, blocks, 32 * warps, 0, launch.stream, x, shift,
               static_cast<const T*>(norm.weight), static_cast<const T*>(norm.bias), workspace, g,
               norm.batch, norm.eps, by_channel);
  const auto kernel = norm.silu ? apply<T, N, true> : apply<T, N, false>;
  cuda::launch(kernel, grid, g.tile.threads, 0, launch.stream, x, by_channel,
               static_cast<T*>(norm.y), g);
}

}  // namespace

size_t group_norm_workspace(const GroupNorm& norm, const Launch& launch) {
  return partial_floats(norm, geometry_of(norm, launch)) +
         static_cast<size_t>(norm.batch * 2 * norm.channels);
}

void group_norm(const GroupNorm& norm, float* workspace, const Launch& launch) {
  const auto geometry = geometry_of(norm, launch);
  by_type(launch.type, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    if (vector_width(norm, launch) > 1) {
      launch_all<T, wide<T>>(norm, geometry, workspace, launch);
    } else {
      launch_all<T, 1>(norm, geometry, workspace, launch);
    }
  });
}

}  // namespace backlot::cuda
