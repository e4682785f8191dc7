// Layers through oneDNN with weights laid out for its kernels once. ATen's own conv2d and linear
// lay them out again at every call, or, for float32 matrices, leave oneDNN's faster kernels unused.
// These are LibTorch operators (namespace mkldnn) that its C++ interface does not name.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace backlot::blocked {

// Whether oneDNN has kernels for a weight of this device and dtype on this CPU.
bool serves(const at::Tensor& weight);

at::Tensor linear_weight(const at::Tensor& weight);  // [out, in]
at::Tensor conv2d_weight(const at::Tensor& weight, int64_t stride,
                         int64_t padding);  // [O, I, k, k]

// x: [..., in] -> [..., out]
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight,
                  const std::optional<at::Tensor>& bias);

// x: [B, in, H, W] channels-last -> [B, out, H', W'] channels-last
at::Tensor conv2d(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                  int64_t stride, int64_t padding);

}  // namespace backlot::blocked
