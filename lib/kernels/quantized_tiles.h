// The quantised matrix product for one type of vector; see versions.h.
#pragma once

#include <algorithm>
#include <cstring>

#include "kernels/quantized.h"
#include "kernels/vector_math.h"

namespace backlot::kernels {
namespace {

constexpr int panel_columns = static_cast<int>(QuantizedShape::panel_columns);
constexpr int panel_vectors = panel_columns / Vectors::lanes;
// Ahead of the codes in use: as far as a core needs to take all that the memory gives.
constexpr int64_t prefetch_bytes = 8192;

BACKLOT_KERNEL_INLINE Vectors::Ints repeat_four(const int8_t* at) {
  int32_t four;
  std::memcpy(&four, at, sizeof four);
  return Vectors::all_bytes(four);
}

struct Activations {
  const int8_t* codes;         // [rows, in]
  const float *scales, *sums;  // [rows, blocks], [rows, groups]
};

// `rows` rows against `vectors` vectors of a panel's columns from `offset` on. Every tile does the
// same to a column in the same order.
template <int rows, int vectors>
struct Tile {
  using Dots = Vectors::Ints[rows][vectors];
  using Totals = Vectors::Floats[rows][vectors];

  const QuantizedShape& shape;
  Activations x;
  const std::byte* panel;
  int offset;

  // Where vector v's columns stand in a row of the panel whose columns take `size` bytes each.
  BACKLOT_KERNEL_INLINE const std::byte* place(const std::byte* at, int v, int64_t size) const {
    return at + (offset + v * Vectors::lanes) * size;
  }

  BACKLOT_KERNEL_INLINE Vectors::Floats load_scales(const std::byte* at, int v) const {
    const auto* from = place(at, v, scale_size);
    return scale_size == 2 ? Vectors::load_float16(reinterpret_cast<const uint16_t*>(from))
                           : Vectors::load(reinterpret_cast<const float*>(from));
  }

  // The dots of four inputs a column.
  template <int bits>
  BACKLOT_KERNEL_INLINE void add_four(const Vectors::Ints (&codes)[vectors], const int8_t* from,
                                      Dots& dots) const {
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const auto four = repeat_four(from + r * shape.in);
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) {
        dots[r][v] = Vectors::dot<bits>(dots[r][v], codes[v], four);
      }
    }
  }

  template <int bits, int block>
  BACKLOT_KERNEL_INLINE void add_block(const std::byte* at, const int8_t* from, Dots& dots) const {
    constexpr int at_once = bits == 4 ? 8 : 4;
#pragma GCC unroll 8
    for (int k = 0; k < block; k += at_once, at += 4 * panel_columns) {
      Vectors::Ints codes[vectors], high[vectors];
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) {
        const auto* line = place(at, v, 4);
        Vectors::prefetch(line + prefetch_bytes);
        codes[v] = Vectors::load_codes(line);
        if constexpr (bits == 4) {
          high[v] = Vectors::high_codes(codes[v]);
          codes[v] = Vectors::low_codes(codes[v]);
        }
      }
      add_four<bits>(codes, from + k, dots);
      if constexpr (bits == 4) add_four<bits>(high, from + k + 4, dots);
    }
  }

  template <int bits>
  BACKLOT_KERNEL_INLINE void add_scaled(const Dots& dots, const std::byte* head, int64_t block,
                                        Totals& totals) const {
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) {
      const auto scale = load_scales(head, v);
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) {
        totals[r][v] =
            Vectors::multiply_add(Vectors::to_floats<bits>(dots[r][v]) * scale,
                                  Vectors::all(x.scales[r * blocks + block]), totals[r][v]);
      }
    }
  }

  BACKLOT_KERNEL_INLINE void add_minimums(const std::byte* at, int64_t group,
                                          Totals& totals) const {
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) {
      const auto minimum = load_scales(at, v);
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) {
        totals[r][v] =
            Vectors::multiply_add(minimum, Vectors::all(x.sums[r * groups + group]), totals[r][v]);
      }
    }
  }

  // out: [rows][panel_columns]
  template <int bits, int block>
  BACKLOT_KERNEL_INLINE void run(float* out) const {
    constexpr int64_t block_bytes = int64_t{panel_columns} * block * bits / 8;
    const int64_t per_group = shape.group / block;
    Totals totals;
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) totals[r][v] = Vectors::zero();
    }
    const auto* at = panel;
    for (int64_t group = 0, done = 0; group < groups; ++group) {
      const auto* head = at;
      at += 2 * panel_columns * scale_size;
      for (int64_t each = 0; each < per_group; ++each, ++done, at += block_bytes) {
        Dots dots;
#pragma GCC unroll 8
        for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
          for (int v = 0; v < vectors; ++v) dots[r][v] = Vectors::no_sums();
        }
        add_block<bits, block>(at, x.codes + done * block, dots);
        add_scaled<bits>(dots, head, done, totals);
      }
      add_minimums(head + panel_columns * scale_size, group, totals);
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) {
        Vectors::store(out + r * panel_columns + offset + v * Vectors::lanes, totals[r][v]);
      }
    }
  }

  const int64_t scale_size = shape.scales == ScaleType::float16 ? 2 : 4;
  const int64_t blocks = shape.blocks(), groups = shape.groups();
};

// The sums of `count` rows with a panel, [count][panel_columns].
template <int rows, int bits, int block>
BACKLOT_KERNEL_INLINE void multiply_panel(const QuantizedShape& shape, const Activations& x,
                                          int64_t count, const std::byte* panel, float* sums) {
  if constexpr (rows > 0) {
    if (count != rows) return multiply_panel<rows - 1, bits, block>(shape, x, count, panel, sums);
    constexpr int vectors = rows == 1 ? panel_vectors : Vectors::tile_vectors;
    for (int offset = 0; offset < panel_columns; offset += vectors * Vectors::lanes) {
      Tile<rows, vectors>{shape, x, panel, offset}.template run<bits, block>(sums);
    }
  }
}

// What follows the product of one row and one panel, whose columns are those of `out` from `column`
// on; `count` of them are real.
struct Epilogue {
  const QuantizedShape& shape;
  const QuantizedOut& to;

  BACKLOT_KERNEL_INLINE void finish(const float* sums, int64_t row, int64_t column) const {
    const int64_t count = std::min(shape.panel_out(), shape.out - column);
    float* out = to.out + row * to.stride + column;
    const float* bias = to.bias ? to.bias + column : nullptr;
    const float* residual = to.residual ? to.residual + row * to.stride + column : nullptr;
    if (count == shape.panel_out()) {
      return store(sums, bias, bias ? bias + shape.out : nullptr, residual, out);
    }
    float padded[4][panel_columns] = {};
    if (bias) {
      std::copy_n(bias, count, padded[0]);
      if (shape.gated) std::copy_n(bias + shape.out, count, padded[1]);
    }
    if (residual) std::copy_n(residual, count, padded[2]);
    store(sums, bias ? padded[0] : nullptr, padded[1], residual ? padded[2] : nullptr, padded[3]);
    std::copy_n(padded[3], count, out);
  }

  BACKLOT_KERNEL_INLINE void store(const float* sums, const float* bias, const float* up_bias,
                                   const float* residual, float* out) const {
    constexpr int half = panel_columns / 2;
    const int64_t count = shape.gated ? half : panel_columns;
    for (int64_t i = 0; i < count; i += Vectors::lanes) {
      auto y = Vectors::load(sums + i);
      if (bias) y += Vectors::load(bias + i);
      if (shape.gated) {
        auto up = Vectors::load(sums + half + i);
        if (bias) up += Vectors::load(up_bias + i);
        y = silu(y) * up;
      }
      if (residual) y += Vectors::load(residual + i);
      Vectors::store(out + i, y);
    }
  }
};

// Rows whose codes stay in the second cache while the panels pass by.
inline int64_t rows_in_cache(const QuantizedShape& shape) {
  constexpr int64_t bytes = 384 << 10;
  const int64_t tiles = bytes / (shape.in * Vectors::tile_rows);
  return std::max<int64_t>(tiles, 8) * Vectors::tile_rows;
}

template <int bits, int block>
BACKLOT_KERNEL void multiply_range(const QuantizedShape& shape, const std::byte* packed,
                                   const QuantizedRows& rows, const QuantizedOut& out,
                                   int64_t begin, int64_t end, int64_t first, int64_t last) {
  constexpr int64_t most = Vectors::tile_rows;
  alignas(64) float sums[most * panel_columns];
  // Tiles of about the same size: a small one costs nearly as much as a large one.
  const int64_t tiles = (end - begin + most - 1) / most;
  const Epilogue epilogue{shape, out};
  for (int64_t panel = first; panel < last; ++panel) {
    const auto* weight = packed + panel * shape.panel_bytes();
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t row = begin + (end - begin) * tile / tiles;
      const int64_t count = begin + (end - begin) * (tile + 1) / tiles - row;
      const Activations x{rows.codes + row * shape.in, rows.scales + row * shape.blocks(),
                          rows.sums + row * shape.groups()};
      multiply_panel<most, bits, block>(shape, x, count, weight, sums);
      for (int64_t r = 0; r < count; ++r) {
        epilogue.finish(sums + r * panel_columns, row + r, panel * shape.panel_out());
      }
    }
  }
}

BACKLOT_KERNEL void quantized_linear_version(const QuantizedShape& shape, const std::byte* packed,
                                             const QuantizedRows& rows, const QuantizedOut& out,
                                             int64_t begin, int64_t end, int64_t first,
                                             int64_t last) {
  const auto multiply = shape.bits == 4
                            ? (shape.block() == 16 ? multiply_range<4, 16> : multiply_range<4, 32>)
                            : (shape.block() == 16 ? multiply_range<8, 16> : multiply_range<8, 32>);
  const int64_t step = rows_in_cache(shape);
  for (int64_t row = begin; row < end; row += step) {
    multiply(shape, packed, rows, out, row, std::min(row + step, end), first, last);
  }
}

// The sum of the codes; not a number where a value is not, so that it shows in the products.
template <int block>
BACKLOT_KERNEL_INLINE float quantize_block(const float* x, int8_t* codes, float& scale) {
  constexpr int vectors = block / Vectors::lanes;
  Vectors::Floats values[vectors];
  auto most = Vectors::zero();
#pragma GCC unroll 4
  for (int v = 0; v < vectors; ++v) {
    values[v] = Vectors::load(x + v * Vectors::lanes);
    most = Vectors::max(most, Vectors::magnitude(values[v]));
  }
  const float largest = Vectors::largest(most);
  scale = largest / 127;
  const auto inverse = Vectors::all(largest > 0 ? 127 / largest : 0);
  auto sum = Vectors::zero();
#pragma GCC unroll 4
  for (int v = 0; v < vectors; ++v) {
    const auto rounded = nearest(values[v] * inverse);
    sum += rounded;
    Vectors::store_bytes(codes + v * Vectors::lanes, rounded);
  }
  return Vectors::sum(sum);
}

template <int block>
BACKLOT_KERNEL void quantize_range(const QuantizedShape& shape, const float* x, int64_t stride,
                                   const QuantizedRows& to, int64_t begin, int64_t end) {
  const int64_t groups = shape.groups(), per_group = shape.group / block;
  for (int64_t row = begin; row < end; ++row) {
    const float* from = x + row * stride;
    int8_t* codes = to.codes + row * shape.in;
    float* scales = to.scales + row * shape.blocks();
    for (int64_t group = 0; group < groups; ++group) {
      float sum = 0;
      for (int64_t b = 0; b < per_group; ++b, from += block, codes += block, ++scales) {
        const float whole = quantize_block<block>(from, codes, *scales);
        sum += *scales * whole;
      }
      to.sums[row * groups + group] = sum;
    }
  }
}

BACKLOT_KERNEL void quantize_rows_version(const QuantizedShape& shape, const float* x,
                                          int64_t stride, const QuantizedRows& to, int64_t begin,
                                          int64_t end) {
  const auto quantize = shape.block() == 16 ? quantize_range<16> : quantize_range<32>;
  quantize(shape, x, stride, to, begin, end);
}

}  // namespace
}  // namespace backlot::kernels
