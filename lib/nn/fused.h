// Steps that a GPU takes in one kernel where ATen's operators take several. Each is a LibTorch
// operator, backlot::NAME: compositions of ATen operators (fused.cpp) serve every device, and the
// CUDA plugin (lib/cuda) lays its kernels over them where there is a GPU. Elsewhere the functions
// call the compositions themselves, without the dispatcher.
//
// Shape letters: B batch, C channels, H and W feature map, D width of tokens.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace backlot::fused {

enum class Activation { none, silu };

// Group normalisation of x + shift, then the activation. x: [B, C, H, W]; shift: [B, C], [1, C] or
// absent; weight, bias: [C].
at::Tensor group_norm(const at::Tensor& x, const std::optional<at::Tensor>& shift, int64_t groups,
                      const at::Tensor& weight, const at::Tensor& bias, double eps,
                      Activation activation);

// Layer normalisation over the last dimension. x: [..., D]; weight, bias: [D]. With scale and
// shift, [B, D] each, x is [B, L, D] and the result is y * (1 + scale) + shift (AdaLN).
at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                      double eps, const std::optional<at::Tensor>& scale = {},
                      const std::optional<at::Tensor>& shift = {});

// Adds y to x in place and returns layer_norm(x). x, y: [..., D].
at::Tensor add_layer_norm_(const at::Tensor& x, const at::Tensor& y, const at::Tensor& weight,
                           const at::Tensor& bias, double eps);

// hidden * gelu(gate), exact. x: [..., 2 D], hidden before gate -> [..., D]
at::Tensor geglu(const at::Tensor& x);

// x + bias + y * scale, in place of x. x, y: [B, C, H, W], alike in memory; bias: [C] or absent.
at::Tensor residual_(const at::Tensor& x, const std::optional<at::Tensor>& bias,
                     const at::Tensor& y, double scale = 1);

// Classifier-free guidance. output: [2 B, C, H, W], the negative half first; scale: [B, 1, 1, 1]
// float32 -> [B, C, H, W] float32
at::Tensor guide(const at::Tensor& output, const at::Tensor& scale);

// decoded: [B, 3, H, W], about -1 to 1 -> [B * H * W * 3 + B] bytes: pixels, rounded half to even,
// then for each item 1 if it had a value that is not finite, else 0. One tensor, so that both come
// back from a device in one copy.
at::Tensor to_bytes(const at::Tensor& decoded);

}  // namespace backlot::fused
