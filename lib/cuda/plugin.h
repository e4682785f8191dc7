// What libbacklot_cuda.so gives to the engine besides its operators, which LibTorch finds by
// itself as soon as the library is loaded.
#pragma once

#include "nn/graph_recorder.h"

namespace backlot {

// Raised whenever graph_recorder.h or the operators of nn/fused.h change.
inline constexpr int cuda_plugin_abi = 1;

inline constexpr const char* cuda_plugin_abi_name = "backlot_cuda_plugin_abi";
inline constexpr const char* make_graph_recorder_name = "backlot_make_graph_recorder";

using CudaPluginAbi = int (*)();
using MakeGraphRecorder = GraphRecorder* (*)(int device);

}  // namespace backlot
