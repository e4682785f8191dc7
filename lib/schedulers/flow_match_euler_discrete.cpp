#include "schedulers/flow_match_euler_discrete.h"

namespace backlot {

void FlowMatchEulerDiscreteScheduler::set_timesteps(int64_t steps) {
  auto levels = shifted_sigmas(steps);
  // The reference takes a terminal of 0 for none.
  if (const auto& terminal = config_.at("shift_terminal"); !terminal.is_null() && terminal != 0) {
    const double scale = (1 - levels.back()) / (1 - terminal.get<double>());
    for (auto& sigma : levels) sigma = 1 - (1 - sigma) / scale;
  }
  if (auto spread = respread_sigmas(config_, levels.front(), levels.back(), steps))
    levels = std::move(*spread);
  const bool inverted = config_.at("invert_sigmas").get<bool>();
  sigmas_ = to_float(levels);
  if (inverted)
    for (auto& sigma : sigmas_) sigma = 1 - sigma;
  timesteps_ = as_tensor(sigmas_) * train_steps_;
  sigmas_.push_back(inverted ? 1 : 0);
}

at::Tensor FlowMatchEulerDiscreteScheduler::step(const at::Tensor& model_output, int64_t call,
                                                 const at::Tensor& sample,
                                                 const NoiseSource& noise) {
  const float sigma = sigmas_.at(call), next = sigmas_.at(call + 1);
  const auto x = sample.to(at::kFloat);
  if (!config_.at("stochastic_sampling").get<bool>())
    return (x + model_output * (next - sigma)).to(model_output.dtype());
  const auto original = x - model_output * sigma;
  return (original * (1 - next) + noise() * next).to(model_output.dtype());
}

}  // namespace backlot
