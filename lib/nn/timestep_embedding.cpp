#include "nn/timestep_embedding.h"

#include <ATen/ATen.h>

#include <cmath>

namespace backlot {

Tensor sinusoidal_embedding(const Tensor& values, int64_t width, SineOrder order,
                            double frequency_shift) {
  const int64_t half = width / 2;
  const auto on_device = values.options().dtype(at::kFloat);
  const auto exponent = at::arange(half, on_device) * -std::log(10000.0) /
                        (static_cast<double>(half) - frequency_shift);
  const auto angle = values.to(at::kFloat).unsqueeze(1) * at::exp(exponent);  // [N, half]
  const auto sin = at::sin(angle), cos = at::cos(angle);
  return order == SineOrder::cos_first ? at::cat({cos, sin}, 1) : at::cat({sin, cos}, 1);
}

TimestepEmbedding::TimestepEmbedding(const Weights& w, int64_t in, int64_t width)
    : linear_1(w / "linear_1", in, width), linear_2(w / "linear_2", width, width) {}

Tensor TimestepEmbedding::operator()(const Tensor& x) const {
  return linear_2(at::silu(linear_1(x)));
}

}  // namespace backlot
