// Tensors as pictures, and noise from seeds.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "engine/engine.h"

namespace backlot {

// Decoded pictures as bytes, on their way from the device. Rounds half to even, as numpy.
class PicturesInFlight {
 public:
  // decoded: [B, 3, H, W] in -1 to 1. Returns as soon as the device knows what to do.
  explicit PicturesInFlight(const at::Tensor& decoded);

  int64_t size() const { return count_; }

  // From any thread, once a mark that was made after this has passed. Throws ItemError if a value
  // was not finite.
  Picture take(int64_t index) const;

 private:
  int64_t count_, height_, width_;
  at::Tensor bytes_;  // on the host: pixels, then a flag for each picture
};

// A batch's random numbers, one generator an item, drawn on the CPU in float32 whatever the device:
// the numbers of torch.Generator("cpu").manual_seed(seed).
class NoiseBatch {
 public:
  // `shape`: of one item, without the batch dimension.
  NoiseBatch(const std::vector<uint64_t>& seeds, std::vector<int64_t> shape, at::Device device);

  // [B, shape...] float32, the next numbers of each generator.
  at::Tensor draw();

  // Where an item's generator is, and back to there: bytes on the CPU.
  at::Tensor state(size_t item) const;
  void set_state(size_t item, const at::Tensor& state);

 private:
  std::vector<at::Generator> generators_;
  std::vector<int64_t> shape_;
  at::Device device_;
};

}  // namespace backlot
