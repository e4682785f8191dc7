#include "schedulers/euler_discrete.h"

namespace backlot {

void EulerDiscreteScheduler::set_timesteps(int64_t steps) {
  auto [timesteps, sigmas] = levels(steps);
  if (config_.at("interpolation_type") == "log_linear") {
    const auto& logs = schedule_.log_sigmas();
    const auto levels = at::linspace(logs.back(), logs.front(), steps + 1, at::kFloat).exp();
    sigmas.assign(levels.const_data_ptr<float>(), levels.const_data_ptr<float>() + steps + 1);
  }
  if (auto spread = respread_sigmas(config_, sigmas.front(), sigmas.back(), steps)) {
    sigmas = std::move(*spread);
    timesteps = schedule_.timesteps_at(sigmas);
  }
  sigmas_ = to_float(sigmas);
  if (config_.at("timestep_type") == "continuous" && prediction_ == "v_prediction")
    timesteps_ = as_tensor(sigmas_).log() * 0.25;
  else
    timesteps_ = as_tensor(to_float(timesteps));
  sigmas_.push_back(config_.at("final_sigmas_type") == "zero" ? 0 : schedule_.sigmas().front());
}

at::Tensor EulerDiscreteScheduler::step(const at::Tensor& model_output, int64_t call,
                                        const at::Tensor& sample, const NoiseSource&) {
  const float sigma = sigmas_.at(call);
  const auto x = sample.to(at::kFloat);
  const auto derivative = (x - predict_original(model_output, x, sigma)) / sigma;
  return (x + derivative * (sigmas_.at(call + 1) - sigma)).to(model_output.dtype());
}

}  // namespace backlot
