#include "schedulers/flow_scheduler.h"

namespace backlot {

FlowScheduler::FlowScheduler(Json config)
    : config_(std::move(config)),
      train_steps_(config_.at("num_train_timesteps").get<double>()),
      shift_(config_.at("shift").get<double>()) {}

std::vector<double> FlowScheduler::shifted_sigmas(int64_t steps) const {
  check_steps(steps, static_cast<int64_t>(train_steps_));
  // The reference bounds the levels by those of training after their shift, then shifts again.
  const auto trained = [&](double timestep) {
    const auto sigma = static_cast<float>(timestep) / static_cast<float>(train_steps_);
    const auto shift = static_cast<float>(shift_);
    return shift * sigma / (1 + static_cast<float>(shift_ - 1) * sigma);
  };
  auto sigmas = linspace(static_cast<double>(trained(train_steps_)) * train_steps_,
                         static_cast<double>(trained(1)) * train_steps_, steps);
  for (auto& sigma : sigmas) {
    sigma /= train_steps_;
    sigma = shift_ * sigma / (1 + (shift_ - 1) * sigma);
  }
  return sigmas;
}

at::Tensor FlowScheduler::add_noise(const at::Tensor& original, const at::Tensor& noise,
                                    int64_t call) const {
  const float sigma = sigmas_.at(call);
  return noise * sigma + original * (1 - sigma);
}

}  // namespace backlot
