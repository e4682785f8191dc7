// What transformers with adaptive layer norm (Peebles and Xie, DiT, arXiv 2212.09748) do to their
// tokens between products. On the CPU in float32 and bfloat16 each is one pass over the tokens;
// elsewhere they are ATen's operators. Arithmetic is in float32, rounded once, where ATen's
// operators round after each step.
//
// Shape letters: B batch, L tokens, D width.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace backlot {

using at::Tensor;

// y of x + y * gate, where a residual is to be added before the norm.
struct GatedResidual {
  Tensor y;                    // [B, L, D]
  std::optional<Tensor> gate;  // [B, D] float32, or none for 1
};

// Layer norm of x without weights of its own, then * factor + shift. factor, shift: [B, D] or
// [1, D] float32. With a residual, that is added to x, in place, first. x: [B, L, D] -> [B, L, D]
Tensor modulated_norm(Tensor& x, const Tensor& factor, const Tensor& shift, double eps,
                      const GatedResidual* residual = nullptr);

// Adds residual.y * residual.gate to x, in place.
void add_gated(Tensor& x, const GatedResidual& residual);

// Angles by which pairs of a head's neighbouring values turn (Su et al., RoFormer, arXiv
// 2104.09864), for each token.
struct PairRotation {
  Tensor cos, sin;  // [L, head_dim] float32: each angle's twice; sin with the signs -, + of a pair
};

// Root mean square norm over all of D, weighted, then the rotation of every head. May write over x,
// which may be a part of wider rows. x: [B, L, D], weight: [D] -> [B, L, D]
Tensor rms_norm_rotated(const Tensor& x, const Tensor& weight, double eps,
                        const PairRotation* rotation = nullptr);

}  // namespace backlot
