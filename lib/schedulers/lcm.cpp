#include "schedulers/lcm.h"

#include <cmath>

namespace backlot {

at::Tensor LCMScheduler::step(const at::Tensor& model_output, int64_t call,
                              const at::Tensor& sample, const NoiseSource& noise) {
  const auto t = timestep(call);
  const auto original =
      limit_sample(config_, predict_original(model_output, sample, schedule_.alpha(t)));

  // The boundary condition: at timestep 0 the model's answer is its input.
  const float scaled = static_cast<float>(t) * config_.at("timestep_scaling").get<float>();
  const float squares = scaled * scaled + 0.25f;
  const float skip_weight = 1 / squares * 0.25f, output_weight = scaled / std::sqrt(squares);
  const auto denoised = original * output_weight + sample * skip_weight;
  if (call + 1 == timesteps_.numel()) return denoised;

  const float next_alpha = alpha_or_final(timestep(call + 1));
  return denoised * std::sqrt(next_alpha) +
         noise().to(denoised.dtype()) * std::sqrt(1 - next_alpha);
}

}  // namespace backlot
