#include "schedulers/ddim.h"

#include <cmath>

namespace backlot {

void DDIMScheduler::set_timesteps(int64_t steps) {
  const auto train = schedule_.train_steps();
  timesteps_ = as_int64_tensor(spaced_timesteps(config_, train, steps, Linspace::rounded));
  stride_ = train / steps;
}

at::Tensor DDIMScheduler::step(const at::Tensor& model_output, int64_t call,
                               const at::Tensor& sample, const NoiseSource& noise) {
  const auto t = timestep(call);
  const float alpha = schedule_.alpha(t), next_alpha = alpha_or_final(t - stride_);
  const auto original = limit_sample(config_, predict_original(model_output, sample, alpha));
  const auto epsilon = predict_noise(model_output, sample, alpha);

  const float variance = (1 - next_alpha) / (1 - alpha) * (1 - alpha / next_alpha);
  const auto eta = config_.at("eta").get<float>();
  const float deviation = eta * std::sqrt(variance);
  const float direction = std::sqrt(1 - next_alpha - deviation * deviation);
  const auto stepped = original * std::sqrt(next_alpha) + epsilon * direction;
  if (eta == 0) return stepped;
  return stepped + noise().to(stepped.dtype()) * deviation;
}

}  // namespace backlot
