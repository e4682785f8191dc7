// Measurements of a device: its ceilings, and each operator of an architecture's networks.
#pragma once

#include <c10/core/Device.h>

#include "engine/engine.h"

namespace backlot {

// The best of matrix products of a few sizes, through ATen and through backlot's own layer, and of
// copies that no cache holds.
Ceilings measure_ceilings(Precision precision, at::Device device);

// As Engine::measure_kernels. Throws UsageError: no such architecture or size, or the filters leave
// nothing; LoadError; OutOfMemory; Interrupted.
void measure_kernels(const KernelRequest& request, at::Device device, const KernelListener& report,
                     Progress& progress);

}  // namespace backlot
