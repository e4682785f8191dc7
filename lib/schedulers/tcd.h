// Zheng et al., "Trajectory consistency distillation" (arXiv 2402.19159), strategic stochastic
// sampling. Draws noise at each step but the last if the config's `eta` (the paper's gamma) is
// above 0.
#pragma once

#include "schedulers/consistency_scheduler.h"

namespace backlot {

class TCDScheduler : public ConsistencyScheduler {
 public:
  using ConsistencyScheduler::ConsistencyScheduler;

  at::Tensor step(const at::Tensor& model_output, int64_t call, const at::Tensor& sample,
                  const NoiseSource& noise) override;
  void show_memory(SchedulerMemory&) override {}  // each call stands for itself
};

}  // namespace backlot
