// What a decoder does to its rows of float32 between the products.
#pragma once

#include <cstdint>

#include "kernels/isa.h"

namespace backlot::kernels {

// out = x / sqrt(mean(x^2) + epsilon) * weight (Zhang and Sennrich, arXiv 1910.07467) for each of
// `rows` rows of `width` values, contiguous. out may be x.
void rms_norm_rows(const float* x, const float* weight, float epsilon, int64_t rows, int64_t width,
                   float* out, Isa isa = best_isa());

// Rotates a token's heads in place (Su et al., RoFormer, arXiv 2104.09864; halves as transformers'
// rotate_half). x: [heads, head_dim]; cosines, sines: [head_dim / 2] of the token's position.
void rotate_halves(float* x, int64_t heads, int64_t head_dim, const float* cosines,
                   const float* sines, Isa isa = best_isa());

// out = silu(gate) * up, where a layer was not packed with its gate. out may be either.
void silu_gate(const float* gate, const float* up, int64_t count, float* out, Isa isa = best_isa());

}  // namespace backlot::kernels
