#include "schedulers/ddpm.h"

#include <algorithm>
#include <cmath>

namespace backlot {

void DDPMScheduler::set_timesteps(int64_t steps) {
  timesteps_ =
      as_int64_tensor(spaced_timesteps(config_, schedule_.train_steps(), steps, Linspace::rounded));
}

float DDPMScheduler::deviation(float alpha, float next_alpha) const {
  const auto type = config_.at("variance_type").get<std::string>();
  const float beta = 1 - alpha / next_alpha;
  if (type == "fixed_large") return std::sqrt(beta);
  const float variance = std::max((1 - next_alpha) / (1 - alpha) * beta, 1e-20f);
  return type == "fixed_small" ? std::sqrt(variance) : exp32(0.5f * log32(variance));
}

at::Tensor DDPMScheduler::step(const at::Tensor& model_output, int64_t call,
                               const at::Tensor& sample, const NoiseSource& noise) {
  const auto t = timestep(call);
  const auto next = call + 1 < timesteps_.numel() ? timestep(call + 1) : -1;
  const float alpha = schedule_.alpha(t), next_alpha = alpha_or_final(next);
  const float step_alpha = alpha / next_alpha;
  const auto original = limit_sample(config_, predict_original(model_output, sample, alpha));
  const float original_weight = std::sqrt(next_alpha) * (1 - step_alpha) / (1 - alpha);
  const float sample_weight = std::sqrt(step_alpha) * (1 - next_alpha) / (1 - alpha);
  const auto stepped = original * original_weight + sample * sample_weight;
  if (t <= 0) return stepped;
  return stepped + noise().to(stepped.dtype()) * deviation(alpha, next_alpha);
}

}  // namespace backlot
