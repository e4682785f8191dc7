// What samplers of flow-matching models have in common, whose sample is
// (1 - sigma) * x0 + sigma * noise and whose denoiser predicts noise - x0 (arXiv 2210.02747).
#pragma once

#include <vector>

#include "schedulers/noise_schedule.h"
#include "schedulers/scheduler.h"

namespace backlot {

class FlowScheduler : public Scheduler {
 public:
  explicit FlowScheduler(Json config);

  at::Tensor sigmas() const override { return as_tensor(sigmas_); }
  double init_noise_sigma() const override { return 1; }
  at::Tensor scale_model_input(const at::Tensor& sample, int64_t) const override { return sample; }
  at::Tensor add_noise(const at::Tensor& original, const at::Tensor& noise,
                       int64_t call) const override;

 protected:
  // `steps` shifted levels, without the final one. Throws ItemError if steps is out of range.
  std::vector<double> shifted_sigmas(int64_t steps) const;

  Json config_;
  double train_steps_, shift_;
  std::vector<float> sigmas_;  // [calls + 1]
};

}  // namespace backlot
