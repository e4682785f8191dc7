// Linear layers: rows of bfloat16 by a packed weight, summed in float32, with what follows the
// product done before it is rounded: bias, residual, an activation, or the gate of a GEGLU
// (Shazeer, GLU Variants Improve Transformer, arXiv 2002.05202; GELU with the error function, as in
// diffusers).
#pragma once

#include <cstdint>

#include "kernels/bfloat16.h"

namespace backlot::kernels {

enum class Gate { none, gelu };

enum class Activation { none, gelu_tanh };  // of the product and its bias

struct LinearShape {
  int64_t in;   // even
  int64_t out;  // of the result: a multiple of 16, with a gate of 32
  Gate gate = Gate::none;
  Activation activation = Activation::none;  // without a gate and without a residual

  // With a gate the weight has 2 * out rows, values first; a panel has as many values as gates.
  int64_t weight_rows() const { return gate == Gate::none ? out : 2 * out; }
  int64_t panels() const { return (weight_rows() + columns - 1) / columns; }
};

// Lays the panels [first, last) out for linear_rows(). weight: [weight_rows, in] contiguous;
// packed: as many values.
void pack_linear_weight(const LinearShape& shape, const bfloat16* weight, bfloat16* packed,
                        int64_t first, int64_t last);

struct LinearRows {
  const bfloat16* in;        // [rows, in]
  bfloat16* out;             // [rows, out]
  const float* bias;         // [weight_rows]
  const bfloat16* residual;  // [rows, out] or null; none with a gate
};

// The panels [first, last) of the rows [begin, end).
void linear_rows(const LinearShape& shape, const LinearRows& rows, const bfloat16* packed,
                 int64_t begin, int64_t end, int64_t first, int64_t last);

}  // namespace backlot::kernels
