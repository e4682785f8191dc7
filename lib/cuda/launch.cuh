// How kernels are launched. tests/cuda/emulated has another file of this name, which runs them on
// the CPU; so nothing else here has CUDA's own syntax for it.
#pragma once

#include <c10/cuda/CUDAException.h>

namespace backlot::cuda {

// Calls kernel(arguments...) in `grid` blocks of `threads` each, with `shared` bytes for
// dynamic_shared().
template <class Kernel, class... Arguments>
void launch(Kernel kernel, dim3 grid, int threads, size_t shared, cudaStream_t stream,
            Arguments... arguments) {
  kernel<<<grid, static_cast<unsigned>(threads), shared, stream>>>(arguments...);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

__device__ inline float* dynamic_shared() {
  extern __shared__ float shared[];
  return shared;
}

}  // namespace backlot::cuda
