// What the samplers have in common whose sample is sqrt(alpha) * x0 + sqrt(1 - alpha) * noise and
// that step from timestep to timestep: DDIM, DDPM, PNDM, LCM, TCD.
#pragma once

#include <string>

#include "schedulers/noise_schedule.h"
#include "schedulers/scheduler.h"

namespace backlot {

class AlphaScheduler : public Scheduler {
 public:
  explicit AlphaScheduler(Json config);

  double init_noise_sigma() const override { return 1; }
  at::Tensor scale_model_input(const at::Tensor& sample, int64_t) const override { return sample; }
  at::Tensor add_noise(const at::Tensor& original, const at::Tensor& noise,
                       int64_t call) const override;

 protected:
  int64_t timestep(int64_t call) const;

  // The cumulated alpha of the timestep to step to; before the first one set_alpha_to_one decides.
  float alpha_or_final(int64_t timestep) const;

  // What the denoiser's output means at cumulated alpha `alpha`, before any clipping.
  at::Tensor predict_original(const at::Tensor& model_output, const at::Tensor& sample,
                              float alpha) const;
  at::Tensor predict_noise(const at::Tensor& model_output, const at::Tensor& sample,
                           float alpha) const;

  Json config_;
  NoiseSchedule schedule_;
  std::string prediction_;
};

}  // namespace backlot
