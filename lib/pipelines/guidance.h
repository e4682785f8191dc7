// Classifier-free guidance for a batch whose items may have different scales.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace backlot {

struct Guidance {
  at::Tensor scale;    // [B, 1, 1, 1] float32
  at::Tensor rescale;  // [B, 1, 1, 1] float32; undefined if no item is rescaled

  Guidance(const std::vector<double>& scales, const std::vector<double>& rescales,
           at::Device device);

  // output: [2 B, C, H, W], the negative prompts' half first -> [B, C, H, W] float32.
  // Rescaling: "Common Diffusion Noise Schedules and Sample Steps are Flawed", section 3.4.
  at::Tensor operator()(const at::Tensor& output) const;
};

}  // namespace backlot
