// Euler steps below the next noise level, then fresh noise back up to it: "Euler a" of
// k-diffusion. Draws noise at each step, at the last one too (where it counts for nothing).
#pragma once

#include "schedulers/sigma_scheduler.h"

namespace backlot {

class EulerAncestralDiscreteScheduler : public SigmaScheduler {
 public:
  using SigmaScheduler::SigmaScheduler;

  void set_timesteps(int64_t steps) override;
  at::Tensor step(const at::Tensor& model_output, int64_t call, const at::Tensor& sample,
                  const NoiseSource& noise) override;
  void show_memory(SchedulerMemory&) override {}  // each call stands for itself
};

}  // namespace backlot
