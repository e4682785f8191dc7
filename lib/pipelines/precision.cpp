#include "pipelines/precision.h"

#include <ATen/ATen.h>

#include "base/machine.h"

namespace backlot {

at::ScalarType choose_dtype(Precision precision, at::Device device) {
  switch (precision) {
    case Precision::float32:
      return at::kFloat;
    case Precision::bfloat16:
      return at::kBFloat16;
    case Precision::float16:
      return at::kHalf;
    case Precision::automatic:
      break;
  }
  // With these instructions a step in bfloat16 takes half to two thirds of the time that it takes
  // in float32, measured on small and full-size models; without them oneDNN has to emulate it.
  if (device.is_cpu()) return processor_has_bfloat16() ? at::kBFloat16 : at::kFloat;
  return at::kBFloat16;
}

std::string precision_name(at::ScalarType dtype) {
  switch (dtype) {
    case at::kBFloat16:
      return "bfloat16";
    case at::kHalf:
      return "float16";
    default:
      return "float32";
  }
}

}  // namespace backlot
