#include "schedulers/euler_ancestral_discrete.h"

#include <cmath>

namespace backlot {

void EulerAncestralDiscreteScheduler::set_timesteps(int64_t steps) {
  const auto [timesteps, sigmas] = levels(steps);
  timesteps_ = as_tensor(to_float(timesteps));
  sigmas_ = to_float(sigmas);
  sigmas_.push_back(0);
}

at::Tensor EulerAncestralDiscreteScheduler::step(const at::Tensor& model_output, int64_t call,
                                                 const at::Tensor& sample,
                                                 const NoiseSource& noise) {
  const float from = sigmas_.at(call), to = sigmas_.at(call + 1);
  const float up = std::sqrt(to * to * (from * from - to * to) / (from * from));
  const float down = std::sqrt(to * to - up * up);
  const auto x = sample.to(at::kFloat);
  const auto derivative = (x - predict_original(model_output, x, from)) / from;
  const auto stepped = x + derivative * (down - from);
  return (stepped + noise() * up).to(model_output.dtype());
}

}  // namespace backlot
