// Linear layers and convolutions whose products are taken in int8 or in 8-bit floating point.
// Weights are narrowed once, activations at every call: each token (linear) or picture
// (convolution) by its own range, so that a result does not depend on its batch. What comes out has
// the dtype of what went in.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>

#include "base/quantization.h"

namespace backlot {

class QuantizedLayer {
 public:
  virtual ~QuantizedLayer() = default;
  virtual at::Tensor operator()(const at::Tensor& x) const = 0;
};

// weight: [out, in]; x: [..., in] -> [..., out]. Null where a layer had better stay as it is:
// without quantization, or in a shape that the kernels have no gain from.
std::shared_ptr<const QuantizedLayer> quantized_linear(Quantization quantization,
                                                       const at::Tensor& weight,
                                                       const std::optional<at::Tensor>& bias);

// weight: [out, in, k, k]; x: [B, in, H, W] -> [B, out, H', W'], channels-last. Null as above.
std::shared_ptr<const QuantizedLayer> quantized_conv2d(Quantization quantization,
                                                       const at::Tensor& weight,
                                                       const at::Tensor& bias, int64_t stride,
                                                       int64_t padding);

// Throws EnvironmentError unless networks of that dtype can be quantized so on the device.
void insist_on_quantization(Quantization quantization, at::Device device, at::ScalarType dtype);

// An 8-bit e4m3 matrix with a scale for each row: row = values * scale.
struct Float8Rows {
  at::Tensor values;  // [N, K] float8_e4m3fn
  at::Tensor scales;  // [N, 1] float32
};
Float8Rows to_float8_rows(const at::Tensor& matrix);

}  // namespace backlot
