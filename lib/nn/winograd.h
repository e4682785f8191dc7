// 3x3 convolutions by Winograd's algorithm on the CPU in bfloat16 (lib/kernels/winograd.h), with
// what follows a convolution folded into it.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "kernels/winograd.h"

namespace backlot {

using at::Tensor;

class WinogradConv {
 public:
  // None where the kernels don't serve the weight's device, dtype or channels, or where oneDNN has
  // faster ones (AMX). weight: [out, in, 3, 3] of a convolution with stride and padding 1
  static std::optional<WinogradConv> make(const Tensor& weight, const Tensor& bias,
                                          kernels::Enlarge enlarge);

  // The same over `frames` maps at a time: weight: [out, frames, in, 3, 3]. Call over_frames().
  static std::optional<WinogradConv> make_over_frames(const Tensor& weight, const Tensor& bias);

  // x: [B, in, H, W], shift: [B, out] added to every pixel or none, residual: as the result or none
  // -> [B, out, H, W], or [B, out, 2H, 2W] of the enlarged map; all channels-last.
  Tensor operator()(const Tensor& x, const Tensor* shift = nullptr,
                    const Tensor* residual = nullptr) const;

  // x: [B, F + frames - 1, H, W, in] contiguous, residual: as the result or none
  // -> [B, F, H, W, out] contiguous
  Tensor over_frames(const Tensor& x, const Tensor* residual = nullptr) const;

  at::ScalarType dtype() const { return weight_.scalar_type(); }

 private:
  struct Batch;
  static std::optional<WinogradConv> make(const kernels::WinogradShape& shape, const Tensor& weight,
                                          const Tensor& bias);
  void run(const Batch& batch) const;

  WinogradConv(kernels::WinogradShape shape, Tensor weight, Tensor bias)
      : shape_(shape), weight_(std::move(weight)), bias_(std::move(bias)) {}

  kernels::WinogradShape shape_;  // height and width are each call's own
  Tensor weight_;                 // as pack_winograd_weight() lays it out
  Tensor bias_;                   // [out] float32
};

}  // namespace backlot
