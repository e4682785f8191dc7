// What the CUDA plugin makes for a pipeline, if the loader has opened it.
#pragma once

#include <c10/core/Device.h>

#include <memory>

#include "nn/graph_recorder.h"

namespace backlot {

// Null on other devices, without the plugin, and with BACKLOT_CUDA_GRAPHS=0. Throws
// EnvironmentError if that variable holds something else than 0 or 1.
std::unique_ptr<GraphRecorder> make_graph_recorder(at::Device device);

}  // namespace backlot
