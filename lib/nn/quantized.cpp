#include "nn/quantized.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "base/error.h"
#include "nn/quantized_float8.h"
#include "nn/quantized_int8.h"

namespace backlot {

std::shared_ptr<const QuantizedLayer> quantized_linear(Quantization quantization,
                                                       const at::Tensor& weight,
                                                       const std::optional<at::Tensor>& bias) {
  switch (quantization) {
    case Quantization::int8:
      return int8::linear(weight, bias);
    case Quantization::fp8:
      return float8::linear(weight, bias);
    case Quantization::none:
      break;
  }
  return nullptr;
}

std::shared_ptr<const QuantizedLayer> quantized_conv2d(Quantization quantization,
                                                       const at::Tensor& weight,
                                                       const at::Tensor& bias, int64_t stride,
                                                       int64_t padding) {
  // LibTorch has no convolution in 8-bit floating point.
  if (quantization != Quantization::int8) return nullptr;
  return int8::conv2d(weight, bias, stride, padding);
}

void insist_on_quantization(Quantization quantization, at::Device device, at::ScalarType dtype) {
  insist_on_quantization(quantization, device.str());
  if (quantization == Quantization::fp8) float8::insist_on(device);
  if (quantization == Quantization::int8 && dtype == at::kHalf)
    throw EnvironmentError("--quantize int8", "does not go with float16 on the CPU",
                           "give --dtype bfloat16 or float32");
}

}  // namespace backlot
