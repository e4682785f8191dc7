// Euler's method for flow matching: Esser et al., "Scaling rectified flow transformers" (arXiv
// 2403.03206). Draws noise at each step if stochastic_sampling is on.
#pragma once

#include "schedulers/flow_scheduler.h"

namespace backlot {

class FlowMatchEulerDiscreteScheduler : public FlowScheduler {
 public:
  using FlowScheduler::FlowScheduler;

  void set_timesteps(int64_t steps) override;
  at::Tensor step(const at::Tensor& model_output, int64_t call, const at::Tensor& sample,
                  const NoiseSource& noise) override;
  void show_memory(SchedulerMemory&) override {}  // each call stands for itself
};

}  // namespace backlot
