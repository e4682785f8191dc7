// Euler's method along sigma: Karras et al. (arXiv 2206.00364), algorithm 2 without churn.
#pragma once

#include "schedulers/sigma_scheduler.h"

namespace backlot {

class EulerDiscreteScheduler : public SigmaScheduler {
 public:
  using SigmaScheduler::SigmaScheduler;

  void set_timesteps(int64_t steps) override;
  at::Tensor step(const at::Tensor& model_output, int64_t call, const at::Tensor& sample,
                  const NoiseSource& noise) override;
  void show_memory(SchedulerMemory&) override {}  // each call stands for itself
};

}  // namespace backlot
