// How LibTorch is to use a GPU.
#pragma once

namespace backlot {

// Settings of the whole process, made before the first tensor is on a GPU. Throws
// EnvironmentError if a variable that asks for one of them holds something else; docs/cuda.md
// lists them.
void configure_cuda();

}  // namespace backlot
