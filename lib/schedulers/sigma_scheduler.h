// What the samplers have in common whose sample is x0 + sigma * noise (Karras et al., arXiv
// 2206.00364): Euler, Heun, KDPM2.
#pragma once

#include <string>
#include <vector>

#include "schedulers/noise_schedule.h"
#include "schedulers/scheduler.h"

namespace backlot {

class SigmaScheduler : public Scheduler {
 public:
  explicit SigmaScheduler(Json config);

  at::Tensor sigmas() const override { return as_tensor(sigmas_); }
  double init_noise_sigma() const override;
  at::Tensor scale_model_input(const at::Tensor& sample, int64_t call) const override;
  at::Tensor add_noise(const at::Tensor& original, const at::Tensor& noise,
                       int64_t call) const override;

 protected:
  // Timesteps and noise levels of a run, before the final level is added and before second-order
  // samplers double them.
  struct Levels {
    std::vector<double> timesteps, sigmas;
  };
  Levels levels(int64_t steps) const;

  // The original sample that the denoiser's output means at noise level `sigma`.
  at::Tensor predict_original(const at::Tensor& model_output, const at::Tensor& sample,
                              float sigma) const;

  Json config_;
  NoiseSchedule schedule_;
  std::string prediction_;
  std::vector<float> sigmas_;  // [calls + 1], unless the class says otherwise
};

}  // namespace backlot
