// Weights made up in memory, for measurements of networks whose weights nobody has at hand: values
// as layers are initialised before training, so that activations stay finite.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace backlot {

class RandomWeights {
 public:
  // `place` sets networks apart that use the same names.
  explicit RandomWeights(std::string_view place);

  // The values depend on the place, the name and the dtype alone: the same on every device, for any
  // number of threads. Norms have weight 1 and bias 0, embeddings CLIP's spread, all else the range
  // that torch's Linear and Conv2d start with.
  at::Tensor make(std::string_view name, at::IntArrayRef shape,
                  const at::TensorOptions& options) const;

  // The same with values spread evenly over (-bound, bound).
  at::Tensor uniform(std::string_view name, float bound, at::IntArrayRef shape,
                     const at::TensorOptions& options) const;

 private:
  uint64_t seed_;
};

}  // namespace backlot
