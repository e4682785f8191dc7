#include "schedulers/heun_discrete.h"

namespace backlot {

void HeunDiscreteScheduler::set_timesteps(int64_t steps) {
  auto [timesteps, sigmas] = levels(steps);
  if (auto spread = respread_sigmas(config_, sigmas.front(), sigmas.back(), steps)) {
    sigmas = std::move(*spread);
    timesteps = schedule_.timesteps_at(sigmas);
  }
  timesteps_ = twice_but_first(as_tensor(to_float(timesteps)));
  sigmas_.clear();
  for (const double sigma : sigmas) sigmas_.insert(sigmas_.end(), sigmas_.empty() ? 1 : 2, sigma);
  sigmas_.push_back(0);
  start_.reset();
  first_derivative_.reset();
}

at::Tensor HeunDiscreteScheduler::step(const at::Tensor& model_output, int64_t call,
                                       const at::Tensor& sample, const NoiseSource&) {
  const float sigma = sigmas_.at(call);
  const auto original = predict_original(model_output, sample, sigma);
  const auto derivative = (sample - limit_sample(config_, original)) / sigma;
  if (!start_.defined()) {
    start_ = sample;
    first_derivative_ = derivative;
    return sample + derivative * (sigmas_.at(call + 1) - sigma);
  }
  const auto mean = (first_derivative_ + derivative) / 2;
  const auto stepped = start_ + mean * (sigma - sigmas_.at(call - 1));
  start_.reset();
  first_derivative_.reset();
  return stepped;
}

}  // namespace backlot
