#include "schedulers/alpha_scheduler.h"

#include <cmath>

namespace backlot {

AlphaScheduler::AlphaScheduler(Json config)
    : config_(std::move(config)),
      schedule_(config_),
      prediction_(config_.at("prediction_type").get<std::string>()) {}

int64_t AlphaScheduler::timestep(int64_t call) const {
  return timesteps_.const_data_ptr<int64_t>()[call];
}

float AlphaScheduler::alpha_or_final(int64_t timestep) const {
  if (timestep >= 0) return schedule_.alpha(timestep);
  return config_.value("set_alpha_to_one", true) ? 1.0f : schedule_.alpha(0);
}

at::Tensor AlphaScheduler::add_noise(const at::Tensor& original, const at::Tensor& noise,
                                     int64_t call) const {
  const float alpha = schedule_.alpha(timestep(call));
  return original * std::sqrt(alpha) + noise * std::sqrt(1 - alpha);
}

at::Tensor AlphaScheduler::predict_original(const at::Tensor& model_output,
                                            const at::Tensor& sample, float alpha) const {
  const float signal = std::sqrt(alpha), noise = std::sqrt(1 - alpha);
  if (prediction_ == "epsilon") return (sample - model_output * noise) / signal;
  if (prediction_ == "sample") return model_output;
  return sample * signal - model_output * noise;
}

at::Tensor AlphaScheduler::predict_noise(const at::Tensor& model_output, const at::Tensor& sample,
                                         float alpha) const {
  const float signal = std::sqrt(alpha), noise = std::sqrt(1 - alpha);
  if (prediction_ == "epsilon") return model_output;
  if (prediction_ == "sample") return (sample - model_output * signal) / noise;
  return model_output * signal + sample * noise;
}

}  // namespace backlot
