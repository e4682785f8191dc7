// Linear layers on the CPU in bfloat16 with our own kernels (lib/kernels/linear.h).
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "kernels/linear.h"

namespace backlot {

using at::Tensor;

class PackedLinear {
 public:
  // None where the kernels don't serve the weight's device, dtype or shape, or where oneDNN has
  // faster ones (AMX). weight: [out, in], with a gate [2 * out, in]; bias: [out], or none
  static std::optional<PackedLinear> make(
      const Tensor& weight, const std::optional<Tensor>& bias,
      kernels::Gate gate = kernels::Gate::none,
      kernels::Activation activation = kernels::Activation::none);

  // x: [..., in], residual: as the result or none -> [..., out]
  Tensor operator()(const Tensor& x, const Tensor* residual = nullptr) const;

 private:
  PackedLinear(kernels::LinearShape shape, Tensor weight, Tensor bias)
      : shape_(shape), weight_(std::move(weight)), bias_(std::move(bias)) {}

  kernels::LinearShape shape_;
  Tensor weight_;  // as pack_linear_weight() lays it out
  Tensor bias_;    // float32
};

}  // namespace backlot
