// Sinusoidal embeddings of timesteps and sizes, and the small network above them.
#pragma once

#include "nn/layers.h"

namespace backlot {

enum class SineOrder { sin_first, cos_first };

// values: [N] -> [N, width] float32. Reference: diffusers' get_timestep_embedding.
Tensor sinusoidal_embedding(const Tensor& values, int64_t width, SineOrder order,
                            double frequency_shift);

struct TimestepEmbedding {
  TimestepEmbedding(const Weights& w, int64_t in, int64_t width);

  // x: [N, in] -> [N, width]
  Tensor operator()(const Tensor& x) const;

  Linear linear_1, linear_2;
};

}  // namespace backlot
