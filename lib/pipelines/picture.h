// Tensors as pictures, and noise from seeds.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "engine/engine.h"

namespace backlot {

// decoded: [B, 3, H, W] in -1 to 1 -> B pictures. Rounds half to even, as numpy. Throws ItemError
// if a value is not finite.
std::vector<Picture> to_pictures(const at::Tensor& decoded);

// A batch's random numbers, one generator an item, drawn on the CPU in float32 whatever the device:
// the numbers of torch.Generator("cpu").manual_seed(seed).
class NoiseBatch {
 public:
  // `shape`: of one item, without the batch dimension.
  NoiseBatch(const std::vector<uint64_t>& seeds, std::vector<int64_t> shape, at::Device device);

  // [B, shape...] float32, the next numbers of each generator.
  at::Tensor draw();

 private:
  std::vector<at::Generator> generators_;
  std::vector<int64_t> shape_;
  at::Device device_;
};

}  // namespace backlot
