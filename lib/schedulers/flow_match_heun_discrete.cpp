#include "schedulers/flow_match_heun_discrete.h"

namespace backlot {

void FlowMatchHeunDiscreteScheduler::set_timesteps(int64_t steps) {
  const auto levels = to_float(shifted_sigmas(steps));
  timesteps_ = twice_but_first(as_tensor(levels) * train_steps_);
  sigmas_.clear();
  for (const float sigma : levels) sigmas_.insert(sigmas_.end(), sigmas_.empty() ? 1 : 2, sigma);
  sigmas_.push_back(0);
  start_.reset();
  first_derivative_.reset();
}

at::Tensor FlowMatchHeunDiscreteScheduler::step(const at::Tensor& model_output, int64_t call,
                                                const at::Tensor& sample, const NoiseSource&) {
  const float sigma = sigmas_.at(call);
  const auto x = sample.to(at::kFloat);
  // By way of the denoised sample, as the reference: not bitwise the output itself.
  const auto derivative = (x - (x - model_output * sigma)) / sigma;
  if (!start_.defined()) {
    start_ = x;
    first_derivative_ = derivative;
    return (x + derivative * (sigmas_.at(call + 1) - sigma)).to(model_output.dtype());
  }
  const auto mean = (first_derivative_ + derivative) * 0.5;
  const auto stepped = start_ + mean * (sigma - sigmas_.at(call - 1));
  start_.reset();
  first_derivative_.reset();
  return stepped.to(model_output.dtype());
}

}  // namespace backlot
