// Layers through oneDNN's 8-bit integer kernels; see quantized.h for what they do.
#pragma once

#include "nn/quantized.h"

namespace backlot::int8 {

std::shared_ptr<const QuantizedLayer> linear(const at::Tensor& weight,
                                             const std::optional<at::Tensor>& bias);
std::shared_ptr<const QuantizedLayer> conv2d(const at::Tensor& weight, const at::Tensor& bias,
                                             int64_t stride, int64_t padding);

}  // namespace backlot::int8
