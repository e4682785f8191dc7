#include "schedulers/tcd.h"

#include <cmath>

namespace backlot {

at::Tensor TCDScheduler::step(const at::Tensor& model_output, int64_t call,
                              const at::Tensor& sample, const NoiseSource& noise) {
  const bool last = call + 1 == timesteps_.numel();
  const auto next = last ? 0 : timestep(call + 1);
  const auto eta = config_.at("eta").get<double>();
  const auto between =
      static_cast<int64_t>(std::floor(static_cast<float>(1 - eta) * static_cast<float>(next)));
  const float alpha = schedule_.alpha(timestep(call)), next_alpha = schedule_.alpha(next);
  const float between_alpha = schedule_.alpha(between);

  const auto original = predict_original(model_output, sample, alpha);
  const auto epsilon = predict_noise(model_output, sample, alpha);
  const auto noised = original * std::sqrt(between_alpha) + epsilon * std::sqrt(1 - between_alpha);
  if (last || eta == 0) return noised;
  const float ratio = next_alpha / between_alpha;
  return noised * std::sqrt(ratio) + noise().to(noised.dtype()) * std::sqrt(1 - ratio);
}

}  // namespace backlot
