#include "schedulers/log_snr_scheduler.h"

#include <algorithm>
#include <cmath>

namespace backlot {

LogSnrScheduler::LogSnrScheduler(Json config)
    : config_(std::move(config)),
      schedule_(config_),
      prediction_(config_.at("prediction_type").get<std::string>()),
      flow_(config_.at("use_flow_sigmas").get<bool>()) {}

LogSnrScheduler::Level LogSnrScheduler::level(int64_t index) const {
  const float sigma = sigmas_.at(index);
  if (flow_) return {1 - sigma, sigma};
  const float alpha = 1 / std::sqrt(sigma * sigma + 1);
  return {alpha, sigma * alpha};
}

at::Tensor LogSnrScheduler::add_noise(const at::Tensor& original, const at::Tensor& noise,
                                      int64_t call) const {
  const auto [alpha, sigma] = level(call);
  return original * alpha + noise * sigma;
}

LogSnrScheduler::Levels LogSnrScheduler::spread_levels(std::vector<double> timesteps, int64_t steps,
                                                       bool rounded) const {
  const auto& trained = schedule_.sigmas();
  if (auto sigmas = respread_sigmas(config_, trained.back(), trained.front(), steps)) {
    timesteps = schedule_.timesteps_at(*sigmas);
    if (rounded && config_.at("use_karras_sigmas").get<bool>())
      for (auto& timestep : timesteps) timestep = std::nearbyint(timestep);
    return {std::move(timesteps), std::move(*sigmas)};
  }
  if (!flow_) {
    auto sigmas = schedule_.sigmas_at(timesteps);
    return {std::move(timesteps), std::move(sigmas)};
  }
  const auto train = static_cast<double>(schedule_.train_steps());
  const auto shift = config_.at("flow_shift").get<double>();
  Levels levels;
  const auto alphas = linspace(1, 1 / train, steps + 1);
  for (auto alpha = alphas.rbegin(); alpha + 1 != alphas.rend(); ++alpha) {
    const double sigma = 1.0 - *alpha;
    levels.sigmas.push_back(shift * sigma / (1 + (shift - 1) * sigma));
    levels.timesteps.push_back(levels.sigmas.back() * train);
  }
  return levels;
}

at::Tensor LogSnrScheduler::predict_original(const at::Tensor& model_output,
                                             const at::Tensor& sample, int64_t index) const {
  const auto [alpha, sigma] = level(index);
  auto original = model_output;
  if (prediction_ == "epsilon") {
    original = (sample - model_output * sigma) / alpha;
  } else if (prediction_ == "v_prediction") {
    original = sample * alpha - model_output * sigma;
  } else if (prediction_ == "flow_prediction") {
    original = sample - model_output * sigmas_.at(index);
  }
  return limit_sample(config_, original);
}

at::Tensor LogSnrScheduler::predict_noise(const at::Tensor& model_output, const at::Tensor& sample,
                                          int64_t index) const {
  const auto [alpha, sigma] = level(index);
  if (prediction_ == "sample") return (sample - model_output * alpha) / sigma;
  if (prediction_ == "v_prediction") return model_output * alpha + sample * sigma;
  return model_output;
}

}  // namespace backlot
