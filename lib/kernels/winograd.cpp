#include "kernels/winograd.h"

#include <algorithm>

#include "kernels/gemm.h"

namespace backlot::kernels {
namespace {

constexpr int side(Enlarge enlarge) { return enlarge == Enlarge::twice ? 3 : 4; }

// One axis of the kernels' transform G g, for `width` lanes side by side.
template <Enlarge enlarge, int width>
BACKLOT_AVX512_BF16_INLINE void transform_kernel(const float* g0, const float* g1, const float* g2,
                                                 float (*out)[width]) {
  for (int i = 0; i < width; ++i) {
    const float ends = g0[i] + g2[i];
    out[0][i] = g0[i];
    if constexpr (enlarge == Enlarge::twice) {
      out[1][i] = ends + g1[i];  // doubled, as the tile's middle value is not
      out[2][i] = g2[i];
    } else {
      out[1][i] = 0.5f * (ends + g1[i]);
      out[2][i] = 0.5f * (ends - g1[i]);
      out[3][i] = g2[i];
    }
  }
}

// G g G' for `width` kernels: kernels [3][3][width] -> [n][n][width]
template <Enlarge enlarge, int width>
BACKLOT_AVX512_BF16_INLINE void transform_kernels(const float (*kernels)[width],
                                                  float (*out)[width]) {
  constexpr int n = side(enlarge);
  float half[3 * n][width];  // [x][row]
  for (int x = 0; x < 3; ++x) {
    transform_kernel<enlarge, width>(kernels[x], kernels[3 + x], kernels[6 + x], half + n * x);
  }
  for (int y = 0; y < n; ++y) {
    transform_kernel<enlarge, width>(half[y], half[n + y], half[2 * n + y], out + n * y);
  }
}

// One panel, two input channels at a time.
template <Enlarge enlarge>
BACKLOT_AVX512_BF16 void pack_panel(const WinogradShape& shape, const bfloat16* weight,
                                    bfloat16* panel, int64_t width) {
  constexpr int n = side(enlarge), most = 2 * columns;
  alignas(64) float kernels[9][most] = {}, transformed[n * n][most];
  for (int64_t pair = 0; pair < shape.in / 2; ++pair) {
    for (int64_t o = 0; o < width; ++o) {
      const bfloat16* at = weight + (o * shape.in + 2 * pair) * 9;
      for (int tap = 0; tap < 9; ++tap) {
        for (int i = 0; i < 2; ++i) {
          const uint32_t bits = uint32_t{at[9 * i + tap]} << 16;
          std::memcpy(&kernels[tap][2 * o + i], &bits, sizeof bits);
        }
      }
    }
    transform_kernels<enlarge, most>(kernels, transformed);
    for (int product = 0; product < n * n; ++product) {
      bfloat16* out = panel + (product * shape.in / 2 + pair) * 2 * width;
      for (int64_t i = 0; i < 2 * width; i += lanes) store(out + i, load(transformed[product] + i));
    }
  }
}

// One axis of the tiles' transform B' d.
template <Enlarge enlarge>
BACKLOT_AVX512_BF16_INLINE void transform_tile(const __m512 (&d)[side(enlarge)],
                                               __m512 (&out)[side(enlarge)]) {
  if constexpr (enlarge == Enlarge::twice) {
    out[0] = d[0] - d[1];
    out[1] = d[1];
    out[2] = d[1] - d[2];
  } else {
    out[0] = d[0] - d[2];
    out[1] = d[1] + d[2];
    out[2] = d[2] - d[1];
    out[3] = d[1] - d[3];
  }
}

// B' d B of all channels of one tile; pixels: its n*n inputs, row by row.
template <Enlarge enlarge>
BACKLOT_AVX512_BF16_INLINE void transform_inputs(const bfloat16* const* pixels, int64_t channels,
                                                 bfloat16* out, int64_t product_stride) {
  constexpr int n = side(enlarge);
  for (int64_t c = 0; c < channels; c += lanes) {
    __m512 half[n][n];  // [x][row]
#pragma GCC unroll 4
    for (int x = 0; x < n; ++x) {
      __m512 column[n];
#pragma GCC unroll 4
      for (int y = 0; y < n; ++y) column[y] = load(pixels[n * y + x] + c);
      transform_tile<enlarge>(column, half[x]);
    }
#pragma GCC unroll 4
    for (int y = 0; y < n; ++y) {
      __m512 row[n], done[n];
#pragma GCC unroll 4
      for (int x = 0; x < n; ++x) row[x] = half[x][y];
      transform_tile<enlarge>(row, done);
#pragma GCC unroll 4
      for (int x = 0; x < n; ++x) store(out + (n * y + x) * product_stride + c, done[x]);
    }
  }
}

// One axis of the sums' transform A' m.
template <Enlarge enlarge>
BACKLOT_AVX512_BF16_INLINE void transform_sum(const __m512 (&m)[side(enlarge)], __m512 (&out)[2]) {
  if constexpr (enlarge == Enlarge::twice) {
    out[0] = m[0] + m[1];
    out[1] = m[1] - m[2];
  } else {
    out[0] = m[0] + m[1] + m[2];
    out[1] = m[1] - m[2] - m[3];
  }
}

struct OutputPixel {
  bfloat16* out;  // null outside the map
  const bfloat16* residual;
};

// A' m A, bias and residual for the four outputs of one tile, `width` channels of them.
template <Enlarge enlarge>
BACKLOT_AVX512_BF16_INLINE void transform_sums(const float* sums, int64_t product_stride,
                                               const float* bias, const OutputPixel (&pixels)[4],
                                               int64_t width) {
  constexpr int n = side(enlarge);
  for (int64_t c = 0; c < width; c += lanes) {
    __m512 half[n][2];  // [x][row]
#pragma GCC unroll 4
    for (int x = 0; x < n; ++x) {
      __m512 column[n];
#pragma GCC unroll 4
      for (int y = 0; y < n; ++y) column[y] = load(sums + (n * y + x) * product_stride + c);
      transform_sum<enlarge>(column, half[x]);
    }
    for (int y = 0; y < 2; ++y) {
      __m512 row[n], done[2];
#pragma GCC unroll 4
      for (int x = 0; x < n; ++x) row[x] = half[x][y];
      transform_sum<enlarge>(row, done);
      for (int x = 0; x < 2; ++x) {
        const auto& pixel = pixels[2 * y + x];
        if (!pixel.out) continue;
        auto value = done[x] + load(bias + c);
        if (pixel.residual) value += load(pixel.residual + c);
        store(pixel.out + c, value);
      }
    }
  }
}

// Sums as they are, for the transform that follows.
struct StoreSums {
  template <int vectors>
  BACKLOT_AVX512_BF16_INLINE void store_row(int64_t row, const __m512 (&sums)[vectors]) const {
    for (int v = 0; v < vectors; ++v) store(out + row * lanes * vectors + lanes * v, sums[v]);
  }
  float* out;
};

struct MultiplyPanel {
  template <int vectors>
  BACKLOT_AVX512_BF16_INLINE void run() const {
    multiply_panel<vectors>(a, channels, rows, panel, channels / 2, StoreSums{sums});
  }
  const bfloat16* a;
  int64_t channels, rows;
  const bfloat16* panel;
  float* sums;
};

template <Enlarge enlarge>
struct Tiles {
  static constexpr int n = side(enlarge);
  const WinogradShape& shape;
  const WinogradMaps& maps;
  int64_t begin, end;
  int64_t across = (shape.width + 1) / 2;

  BACKLOT_AVX512_BF16_INLINE void read(const bfloat16* zeros, bfloat16* inputs) const {
    const int64_t in_height = enlarge == Enlarge::twice ? shape.height / 2 : shape.height;
    const int64_t in_width = enlarge == Enlarge::twice ? shape.width / 2 : shape.width;
    const int64_t step = enlarge == Enlarge::twice ? 1 : 2;
    const int64_t channels = shape.in / shape.frames;
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t top = tile / across * step - 1, left = tile % across * step - 1;
      for (int64_t frame = 0; frame < shape.frames; ++frame) {
        const bfloat16* in = maps.in + frame * in_height * in_width * channels;
        const bfloat16* pixels[n * n];
        for (int i = 0; i < n * n; ++i) {
          const int64_t y = top + i / n, x = left + i % n;
          const bool inside = y >= 0 && y < in_height && x >= 0 && x < in_width;
          pixels[i] = inside ? in + (y * in_width + x) * channels : zeros;
        }
        transform_inputs<enlarge>(pixels, channels,
                                  inputs + (tile - begin) * shape.in + frame * channels,
                                  (end - begin) * shape.in);
      }
    }
  }

  BACKLOT_AVX512_BF16_INLINE void write(const float* sums, int64_t first, int64_t width) const {
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t top = 2 * (tile / across), left = 2 * (tile % across);
      OutputPixel pixels[4] = {};
      for (int i = 0; i < 4; ++i) {
        const int64_t y = top + i / 2, x = left + i % 2;
        if (y >= shape.height || x >= shape.width) continue;
        const int64_t at = (y * shape.width + x) * shape.out + first;
        pixels[i] = {maps.out + at, maps.residual ? maps.residual + at : nullptr};
      }
      transform_sums<enlarge>(sums + (tile - begin) * width, (end - begin) * width,
                              maps.bias + first, pixels, width);
    }
  }
};

template <Enlarge enlarge>
BACKLOT_AVX512_BF16 void run_tiles(const Tiles<enlarge>& tiles, const bfloat16* packed,
                                   int64_t first_panel, int64_t last_panel, bfloat16* inputs,
                                   float* sums) {
  constexpr int products = Tiles<enlarge>::n * Tiles<enlarge>::n;
  const auto& shape = tiles.shape;
  const int64_t rows = tiles.end - tiles.begin;
  // The sums' space stands in for pixels outside the map until the products need it.
  std::fill_n(sums, shape.in / 2, 0.0f);
  tiles.read(reinterpret_cast<const bfloat16*>(sums), inputs);
  for (int64_t panel = first_panel; panel < last_panel; ++panel) {
    const int64_t first = panel * columns, width = std::min(columns, shape.out - first);
    for (int64_t product = 0; product < products; ++product) {
      with_vectors(width, MultiplyPanel{inputs + product * rows * shape.in, shape.in, rows,
                                        packed + (products * first + product * width) * shape.in,
                                        sums + product * rows * width});
    }
    tiles.write(sums, first, width);
  }
}

}  // namespace

void pack_winograd_weight(const WinogradShape& shape, const bfloat16* weight, bfloat16* packed,
                          int64_t first, int64_t last) {
  for (int64_t o = first; o < last; o += columns) {
    const int64_t width = std::min(columns, shape.out - o);
    const bfloat16* from = weight + o * shape.in * 9;
    bfloat16* to = packed + shape.products() * o * shape.in;
    if (shape.enlarge == Enlarge::twice) {
      pack_panel<Enlarge::twice>(shape, from, to, width);
    } else {
      pack_panel<Enlarge::no>(shape, from, to, width);
    }
  }
}

void winograd_tiles(const WinogradShape& shape, const WinogradMaps& maps, const bfloat16* packed,
                    int64_t begin, int64_t end, int64_t first_panel, int64_t last_panel,
                    bfloat16* inputs, float* sums) {
  if (shape.enlarge == Enlarge::twice) {
    run_tiles(Tiles<Enlarge::twice>{shape, maps, begin, end}, packed, first_panel, last_panel,
              inputs, sums);
  } else {
    run_tiles(Tiles<Enlarge::no>{shape, maps, begin, end}, packed, first_panel, last_panel, inputs,
              sums);
  }
}

}  // namespace backlot::kernels
