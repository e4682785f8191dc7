// Linear layers whose weights are unsigned codes of 4 or 8 bits with a scale and a minimum for each
// group of inputs: w = scale * code + minimum. That holds GGUF's blocks without loss (Q4_0, Q4_1,
// Q5_x, Q8_0 with float16 scales, K-quants with float32 ones) and what is quantised on loading.
//
// Activations are quantised to int8 a block at a time (32 values, or a smaller group), so that a
// block's product is an integer dot, exact in every version. A row's result has the same bits
// however many rows, panels or threads it is computed with; two versions (Isa) agree to rounding.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/isa.h"

namespace backlot::kernels {

enum class ScaleType { float16, float32 };

struct QuantizedShape {
  static constexpr int64_t panel_columns = 32;  // weight rows that are laid out together

  int64_t in;   // a multiple of group
  int64_t out;  // of the result
  int bits;     // 4 or 8
  int group;    // 16, 32, 64 or 128 inputs share a scale and a minimum
  ScaleType scales = ScaleType::float16;
  // silu(gate) * up (SwiGLU): the weight has 2 * out rows, the gate's first; a panel has 16 of
  // each.
  bool gated = false;

  int64_t weight_rows() const { return gated ? 2 * out : out; }
  int64_t panel_out() const { return gated ? panel_columns / 2 : panel_columns; }
  int64_t panels() const { return (out + panel_out() - 1) / panel_out(); }
  int64_t block() const { return group < 32 ? group : 32; }  // activations that share a scale
  int64_t groups() const { return in / group; }
  int64_t blocks() const { return in / block(); }
  size_t group_bytes() const {
    const size_t scale = scales == ScaleType::float16 ? 2 : 4;
    return panel_columns * (2 * scale + static_cast<size_t>(group) * bits / 8);
  }
  size_t panel_bytes() const { return groups() * group_bytes(); }
  size_t packed_bytes() const { return panels() * panel_bytes(); }
};

// Whether float16 holds all of them exactly.
bool exact_in_float16(const float* values, int64_t count);

// Lays weight rows [begin, end) out where they belong in `packed` (packed_bytes(), 64-byte aligned,
// zeroed before the first). Rows may come in any order and from several threads.
// codes: [end - begin, in], below 2^bits; scales, mins: [end - begin, groups].
void pack_quantized_rows(const QuantizedShape& shape, int64_t begin, int64_t end,
                         const uint8_t* codes, const float* scales, const float* mins,
                         std::byte* packed);

// Weight row `row` as float32, [in]: what an embedding looks up.
void unpack_quantized_row(const QuantizedShape& shape, const std::byte* packed, int64_t row,
                          float* out);

// Activations for layers with the same `in` and `group`.
struct QuantizedRows {
  int8_t* codes;  // [rows, in], -127 … 127
  float* scales;  // [rows, blocks]
  float* sums;    // [rows, groups]: of scale * code
};

// Rows [begin, end) of x, `stride` values apart.
void quantize_rows(const QuantizedShape& shape, const float* x, int64_t stride,
                   const QuantizedRows& to, int64_t begin, int64_t end, Isa isa = best_isa());

struct QuantizedOut {
  float* out;                       // [rows, out]
  int64_t stride;                   // values from one row to the next, also of the residual
  const float* bias = nullptr;      // [weight_rows] or null
  const float* residual = nullptr;  // added; may be `out` itself; null with a gate
};

// The panels [first, last) of the rows [begin, end): out columns from first * panel_out() on.
void quantized_linear(const QuantizedShape& shape, const std::byte* packed,
                      const QuantizedRows& rows, const QuantizedOut& out, int64_t begin,
                      int64_t end, int64_t first, int64_t last, Isa isa = best_isa());

}  // namespace backlot::kernels
