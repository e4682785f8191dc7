// Linear layers through cuBLASLt's and CUTLASS' 8-bit floating-point kernels; see quantized.h.
#pragma once

#include "nn/quantized.h"

namespace backlot::float8 {

std::shared_ptr<const QuantizedLayer> linear(const at::Tensor& weight,
                                             const std::optional<at::Tensor>& bias);

// Throws EnvironmentError unless the device multiplies float8 with a scale a row.
void insist_on(at::Device device);

}  // namespace backlot::float8
