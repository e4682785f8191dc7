#include "schedulers/pndm.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace backlot {

void PNDMScheduler::set_timesteps(int64_t steps) {
  const auto train = schedule_.train_steps();
  const auto spaced = spaced_timesteps(config_, train, steps, Linspace::rounded);
  std::vector<double> timesteps;
  stride_ = train / steps;
  runge_kutta_.clear();
  if (config_.at("skip_prk_steps").get<bool>()) {
    timesteps = spaced;
    if (spaced.size() > 1) timesteps.insert(timesteps.begin() + 1, spaced[1]);
  } else {
    if (spaced.size() < 4)
      throw ItemError("steps", "PNDM needs at least 4 steps", "raise steps, or set skip_prk_steps");
    // The four noisiest, each led by the middle on the way to it, all twice; the sequence starts
    // at the noisiest itself and ends at the fourth, which come once.
    for (size_t i = 0; i < 4; ++i)
      for (const int64_t offset : {stride_ / 2, int64_t{0}})
        runge_kutta_.insert(runge_kutta_.end(), 2, static_cast<int64_t>(spaced[i]) + offset);
    runge_kutta_.erase(runge_kutta_.begin(), runge_kutta_.begin() + 3);
    runge_kutta_.pop_back();
    timesteps.assign(runge_kutta_.begin(), runge_kutta_.end());
    timesteps.insert(timesteps.end(), spaced.begin() + 3, spaced.end());
  }
  timesteps_ = as_int64_tensor(timesteps);
  calls_ = 0;
  outputs_.clear();
  accumulated_.reset();
  start_.reset();
}

at::Tensor PNDMScheduler::step(const at::Tensor& model_output, int64_t call,
                               const at::Tensor& sample, const NoiseSource&) {
  const bool opening = calls_ < std::ssize(runge_kutta_);
  const auto stepped = opening ? step_runge_kutta(model_output, timestep(call), sample)
                               : step_multistep(model_output, timestep(call), sample);
  ++calls_;
  return stepped;
}

at::Tensor PNDMScheduler::step_runge_kutta(const at::Tensor& model_output, int64_t t,
                                           const at::Tensor& sample) {
  const auto next = calls_ % 2 ? t : t - stride_ / 2;
  const auto from = runge_kutta_[calls_ / 4 * 4];
  auto epsilon = model_output;
  switch (calls_ % 4) {
    case 0:
      accumulated_ = model_output * (1.0 / 6);
      outputs_.push_back(model_output);
      start_ = sample;
      break;
    case 1:
    case 2:
      accumulated_ = accumulated_ + model_output * (1.0 / 3);
      break;
    case 3:
      epsilon = accumulated_ + model_output * (1.0 / 6);
      break;
  }
  return transfer(start_, from, next, epsilon);
}

at::Tensor PNDMScheduler::step_multistep(const at::Tensor& model_output, int64_t t,
                                         const at::Tensor& sample) {
  auto next = t - stride_;
  auto x = sample;
  if (calls_ == 1) {
    next = t;
    t += stride_;
  } else {
    if (outputs_.size() > 3) outputs_.erase(outputs_.begin(), outputs_.end() - 3);
    outputs_.push_back(model_output);
  }
  const auto& e = outputs_;
  const auto n = e.size();
  at::Tensor epsilon;
  if (n == 1 && calls_ == 0) {
    epsilon = model_output;
    start_ = sample;
  } else if (n == 1 && calls_ == 1) {
    epsilon = (model_output + e[0]) / 2;
    x = start_;
    start_.reset();
  } else if (n == 2) {
    epsilon = (e[1] * 3 - e[0]) / 2;
  } else if (n == 3) {
    epsilon = (e[2] * 23 - e[1] * 16 + e[0] * 5) / 12;
  } else {
    epsilon = (e[3] * 55 - e[2] * 59 + e[1] * 37 - e[0] * 9) * (1.0 / 24);
  }
  return transfer(x, t, next, epsilon);
}

at::Tensor PNDMScheduler::transfer(const at::Tensor& sample, int64_t t, int64_t next,
                                   const at::Tensor& model_output) const {
  const float alpha = schedule_.alpha(t), next_alpha = alpha_or_final(next);
  const auto epsilon = predict_noise(model_output, sample, alpha);
  const float scale = std::sqrt(next_alpha / alpha);
  const float divisor =
      alpha * std::sqrt(1 - next_alpha) + std::sqrt(alpha * (1 - alpha) * next_alpha);
  return sample * scale - epsilon * (next_alpha - alpha) / divisor;
}

}  // namespace backlot
