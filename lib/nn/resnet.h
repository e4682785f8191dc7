// The residual block and the size changes that UNets and autoencoders share.
// Reference: diffusers/models/resnet.py, downsampling.py, upsampling.py.
#pragma once

#include "nn/norm.h"

namespace backlot {

struct ResnetShape {
  int64_t in, out;
  int64_t groups;
  double eps;
  int64_t time_width = 0;  // 0: the block hears nothing of time
};

struct ResnetBlock2D {
  ResnetBlock2D(const Weights& w, const ResnetShape& shape);

  // x: [B, in, H, W], shift: [B, out] or none -> [B, out, H, W]
  Tensor operator()(const Tensor& x, const Tensor* shift = nullptr) const;

  // What `shift` is at a time: silu(embedding) through time_emb_proj, and conv1's bias where that
  // is not added by the convolution. activated: [..., time_width] -> [..., out]
  Tensor time_shift(const Tensor& activated) const;

  GroupNorm norm1;
  Conv2d conv1;
  std::optional<Linear> time_emb_proj;
  GroupNorm norm2;
  Conv2d conv2;
  std::optional<Conv1x1> conv_shortcut;
};

// Nearest-neighbour enlargement to [height, width], then a convolution.
struct Upsample2D {
  Upsample2D(const Weights& w, int64_t channels);

  Tensor operator()(const Tensor& x, int64_t height, int64_t width) const;

  Conv2d conv;
  std::optional<WinogradConv> doubling;  // both in one, to exactly twice the size
};

}  // namespace backlot
