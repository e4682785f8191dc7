#include "schedulers/deis_multistep.h"

#include <algorithm>
#include <cmath>

namespace backlot {
namespace {

// Antiderivatives of the Lagrange polynomials in log t that are 1 at b and 0 at c (and d).
float integral(float t, float b, float c) {
  return t * (-std::log(c) + std::log(t) - 1) / (std::log(b) - std::log(c));
}

float integral(float t, float b, float c, float d) {
  const float lb = std::log(b), lc = std::log(c), ld = std::log(d), lt = std::log(t);
  const float numerator = t * (lc * (ld - lt + 1) - ld * lt + ld + lt * lt - 2 * lt + 2);
  return numerator / ((lb - lc) * (lb - ld));
}

}  // namespace

void DEISMultistepScheduler::set_timesteps(int64_t steps) {
  const auto train = schedule_.train_steps();
  const auto levels =
      spread_levels(spaced_timesteps(config_, train, steps, Linspace::open), steps, true);
  timesteps_ = as_int64_tensor(levels.timesteps);
  sigmas_ = to_float(levels.sigmas);
  const bool respread = config_.at("use_karras_sigmas").get<bool>() ||
                        config_.at("use_exponential_sigmas").get<bool>();
  sigmas_.push_back(respread || flow_ ? sigmas_.back() : schedule_.sigmas().front());
  outputs_.clear();
}

at::Tensor DEISMultistepScheduler::step(const at::Tensor& model_output, int64_t call,
                                        const at::Tensor& sample, const NoiseSource&) {
  const auto s = level(call), t = level(call + 1);
  const auto original = predict_original(model_output, sample, call);
  const auto limit = config_.at("solver_order").get<size_t>();
  if (outputs_.size() == limit) outputs_.erase(outputs_.begin());
  outputs_.push_back((sample - original * s.alpha) / s.sigma);

  auto order = outputs_.size();
  const auto left = static_cast<size_t>(timesteps_.numel() - call);
  if (config_.at("lower_order_final").get<bool>() && timesteps_.numel() < 15)
    order = std::min(order, left);
  const auto& m0 = outputs_.back();
  if (order == 1) {
    const float h = t.lambda() - s.lambda();
    return sample * (t.alpha / s.alpha) - m0 * (t.sigma * (exp32(h) - 1));
  }
  const auto rho = [](const Level& at) { return at.sigma / at.alpha; };
  const float rt = rho(t), r0 = rho(s), r1 = rho(level(call - 1));
  const auto& m1 = outputs_.end()[-2];
  if (order == 2) {
    const float weight0 = integral(rt, r0, r1) - integral(r0, r0, r1);
    const float weight1 = integral(rt, r1, r0) - integral(r0, r1, r0);
    return (sample / s.alpha + m0 * weight0 + m1 * weight1) * t.alpha;
  }
  const float r2 = rho(level(call - 2));
  const float weight0 = integral(rt, r0, r1, r2) - integral(r0, r0, r1, r2);
  const float weight1 = integral(rt, r1, r2, r0) - integral(r0, r1, r2, r0);
  const float weight2 = integral(rt, r2, r0, r1) - integral(r0, r2, r0, r1);
  return (sample / s.alpha + m0 * weight0 + m1 * weight1 + outputs_.end()[-3] * weight2) * t.alpha;
}

}  // namespace backlot
