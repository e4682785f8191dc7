#include "schedulers/kdpm2_discrete.h"

#include <cmath>

namespace backlot {
namespace {

// Halfway between two levels in log sigma, in float32 as the reference.
at::Tensor geometric_mean(const at::Tensor& a, const at::Tensor& b) {
  return at::lerp(a.log(), b.log(), 0.5).exp();
}

}  // namespace

SigmaScheduler::Levels KDPM2DiscreteScheduler::run_levels(int64_t steps) const {
  auto [timesteps, sigmas] = levels(steps);
  if (auto spread = respread_sigmas(config_, sigmas.front(), sigmas.back(), steps)) {
    sigmas = std::move(*spread);
    timesteps = schedule_.timesteps_at(sigmas);
    if (config_.at("use_karras_sigmas").get<bool>())
      for (auto& timestep : timesteps) timestep = std::nearbyint(timestep);
  }
  return {std::move(timesteps), std::move(sigmas)};
}

void KDPM2DiscreteScheduler::set_calls(const Levels& levels, const at::Tensor& halfway) {
  const auto steps = levels.sigmas.size();
  levels_ = to_float(levels.sigmas);
  levels_.push_back(0);
  halfway_.assign(halfway.const_data_ptr<float>(), halfway.const_data_ptr<float>() + steps);
  reached_.assign(levels_.begin() + 1, levels_.end());
  start_.reset();

  sigmas_ = {levels_[0]};
  std::vector<double> timesteps = {levels.timesteps[0]};
  for (size_t k = 1; k <= steps; ++k) {
    sigmas_.insert(sigmas_.end(), 2, levels_[k]);
    if (k == steps) break;
    timesteps.push_back(schedule_.timestep(halfway_[k - 1]));
    timesteps.push_back(levels.timesteps[k]);
  }
  sigmas_.push_back(0);
  const bool respread = config_.at("use_karras_sigmas").get<bool>() ||
                        config_.at("use_exponential_sigmas").get<bool>();
  timesteps_ = as_tensor(timesteps).to(respread ? at::kDouble : at::kFloat);
}

void KDPM2DiscreteScheduler::set_timesteps(int64_t steps) {
  const auto levels = run_levels(steps);
  const auto from = as_tensor(to_float(levels.sigmas));  // [steps]
  const auto to = at::cat({from.slice(0, 1), at::zeros({1})});
  set_calls(levels, geometric_mean(to, from));
}

at::Tensor KDPM2DiscreteScheduler::scale_model_input(const at::Tensor& sample, int64_t call) const {
  const float sigma = call % 2 ? halfway_.at(call / 2) : levels_.at(call / 2);
  return sample / std::sqrt(sigma * sigma + 1);
}

at::Tensor KDPM2DiscreteScheduler::step(const at::Tensor& model_output, int64_t call,
                                        const at::Tensor& sample, const NoiseSource&) {
  const auto k = static_cast<size_t>(call / 2);
  const bool first = call % 2 == 0;
  const float sigma = levels_.at(k), here = first ? sigma : halfway_[k];
  const auto derivative = (sample - predict_original(model_output, sample, here)) / here;
  if (first) {
    start_ = sample;
    return sample + derivative * (halfway_[k] - sigma);
  }
  return start_ + derivative * (reached_[k] - sigma);
}

void KDPM2AncestralDiscreteScheduler::set_timesteps(int64_t steps) {
  const auto levels = run_levels(steps);
  const auto from = as_tensor(to_float(levels.sigmas));  // [steps]
  const auto to = at::cat({from.slice(0, 1), at::zeros({1})});
  const auto added = (to.pow(2) * (from.pow(2) - to.pow(2)) / from.pow(2)).sqrt();
  const auto reached = (to.pow(2) - added.pow(2)).sqrt();
  auto halfway = geometric_mean(from, reached);
  halfway[-1].zero_();
  set_calls(levels, halfway);
  added_.assign(added.const_data_ptr<float>(), added.const_data_ptr<float>() + steps);
  reached_.assign(reached.const_data_ptr<float>(), reached.const_data_ptr<float>() + steps);
}

at::Tensor KDPM2AncestralDiscreteScheduler::step(const at::Tensor& model_output, int64_t call,
                                                 const at::Tensor& sample,
                                                 const NoiseSource& noise) {
  const auto stepped = KDPM2DiscreteScheduler::step(model_output, call, sample, noise);
  if (call % 2 == 0) return stepped;
  return stepped + noise().to(stepped.dtype()) * added_.at(call / 2);
}

}  // namespace backlot
