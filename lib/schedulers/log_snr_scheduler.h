// What the exponential integrators have in common, which step in lambda = log(alpha / sigma):
// DPM-Solver (arXiv 2206.00927), DEIS (2204.13902) and UniPC (2302.04867).
#pragma once

#include <string>
#include <vector>

#include "schedulers/noise_schedule.h"
#include "schedulers/scheduler.h"

namespace backlot {

class LogSnrScheduler : public Scheduler {
 public:
  explicit LogSnrScheduler(Json config);

  at::Tensor sigmas() const override { return as_tensor(sigmas_); }
  double init_noise_sigma() const override { return 1; }
  at::Tensor scale_model_input(const at::Tensor& sample, int64_t) const override { return sample; }
  at::Tensor add_noise(const at::Tensor& original, const at::Tensor& noise,
                       int64_t call) const override;

 protected:
  // A sample is alpha * x0 + sigma * noise.
  struct Level {
    float alpha, sigma;
    float lambda() const { return log32(alpha) - log32(sigma); }
  };
  // The level at sigmas_[index].
  Level level(int64_t index) const;

  // Timesteps and noise levels without the final one.
  struct Levels {
    std::vector<double> timesteps, sigmas;
  };
  // As the config says, starting from `timesteps`. Timesteps of respread levels are rounded if
  // `rounded`, for Karras levels only.
  Levels spread_levels(std::vector<double> timesteps, int64_t steps, bool rounded) const;

  // The original sample that the denoiser's output at `index` means, and the noise.
  at::Tensor predict_original(const at::Tensor& model_output, const at::Tensor& sample,
                              int64_t index) const;
  at::Tensor predict_noise(const at::Tensor& model_output, const at::Tensor& sample,
                           int64_t index) const;

  Json config_;
  NoiseSchedule schedule_;
  std::string prediction_;
  bool flow_;                  // alpha = 1 - sigma instead of alpha^2 + sigma^2 = 1
  std::vector<float> sigmas_;  // [calls + 1]
};

}  // namespace backlot
