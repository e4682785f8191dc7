#include "schedulers/sigma_scheduler.h"

#include <algorithm>
#include <cmath>

namespace backlot {

SigmaScheduler::SigmaScheduler(Json config)
    : config_(std::move(config)),
      schedule_(config_),
      prediction_(config_.at("prediction_type").get<std::string>()) {}

double SigmaScheduler::init_noise_sigma() const {
  const float highest = *std::max_element(sigmas_.begin(), sigmas_.end());
  if (config_.at("timestep_spacing") != "leading") return highest;
  return std::sqrt(highest * highest + 1);
}

at::Tensor SigmaScheduler::scale_model_input(const at::Tensor& sample, int64_t call) const {
  const float sigma = sigmas_.at(call);
  return sample / std::sqrt(sigma * sigma + 1);
}

at::Tensor SigmaScheduler::add_noise(const at::Tensor& original, const at::Tensor& noise,
                                     int64_t call) const {
  return original + noise * sigmas_.at(call);
}

SigmaScheduler::Levels SigmaScheduler::levels(int64_t steps) const {
  Levels levels;
  levels.timesteps =
      spaced_timesteps(config_, schedule_.train_steps(), steps, Linspace::fractional);
  levels.sigmas = schedule_.sigmas_at(levels.timesteps);
  return levels;
}

at::Tensor SigmaScheduler::predict_original(const at::Tensor& model_output,
                                            const at::Tensor& sample, float sigma) const {
  if (prediction_ == "epsilon") return sample - model_output * sigma;
  if (prediction_ != "v_prediction") return model_output;
  const float variance = sigma * sigma + 1;
  return model_output * (-sigma / std::sqrt(variance)) + sample / variance;
}

}  // namespace backlot
