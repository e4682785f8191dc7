// The dtype that a precision means on a device.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <string>

#include "engine/probe.h"

namespace backlot {

at::ScalarType choose_dtype(Precision precision, at::Device device);

// "float32", "bfloat16" or "float16"
std::string precision_name(at::ScalarType dtype);

}  // namespace backlot
