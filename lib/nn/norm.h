// Normalisation layers.
#pragma once

#include "nn/layers.h"

namespace backlot {

struct LayerNorm {
  LayerNorm(const Weights& w, int64_t width, double eps);

  // x: [..., width]
  Tensor operator()(const Tensor& x) const;

  // Adds y to x in place and normalises the sum.
  Tensor after_adding(const Tensor& x, const Tensor& y) const;

  Tensor weight, bias;
  double eps;
};

struct GroupNorm {
  GroupNorm(const Weights& w, int64_t groups, int64_t channels, double eps);

  // x: [B, channels, H, W]
  Tensor operator()(const Tensor& x) const;

  // silu(group_norm(x)), in one pass where there is a kernel for it
  Tensor silu(const Tensor& x) const;

  // silu(group_norm(x + shift)); may write over x. shift: [B, channels] or [1, channels]
  Tensor silu_shifted(const Tensor& x, const Tensor& shift) const;

  Tensor weight, bias;
  int64_t groups;
  double eps;
};

}  // namespace backlot
