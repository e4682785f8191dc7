// Opens LibTorch's CUDA half and the plugin, as the loader does, where a driver answers.
#pragma once

#include <ATen/ATen.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/InferenceMode.h>
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <string>

namespace backlot {

// Why there is no GPU to test with; "" if there is one.
inline std::string no_gpu() {
  static const std::string why = []() -> std::string {
    if (!::dlopen("libcuda.so.1", RTLD_LAZY | RTLD_GLOBAL)) return "no NVIDIA driver here";
    for (const char* library : {BACKLOT_TORCH_LIB "/libc10_cuda.so",
                                BACKLOT_TORCH_LIB "/libtorch_cuda.so", BACKLOT_CUDA_PLUGIN}) {
      if (!::dlopen(library, RTLD_NOW | RTLD_GLOBAL)) return ::dlerror();
    }
    if (!at::hasCUDA()) return "LibTorch sees no CUDA device";
    at::globalContext().lazyInitDevice(at::kCUDA);
    return at::detail::getCUDAHooks().deviceCount() > 0 ? "" : "no CUDA device here";
  }();
  return why;
}

class WithGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto why = no_gpu(); !why.empty()) GTEST_SKIP() << why;
    at::manual_seed(1);
  }

  const at::Device gpu{at::kCUDA, 0};
  c10::InferenceMode inference;
};

}  // namespace backlot
