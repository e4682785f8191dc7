// Luo et al., "Latent consistency models" (arXiv 2310.04378), algorithm 3. Draws noise at each
// step but the last.
#pragma once

#include "schedulers/consistency_scheduler.h"

namespace backlot {

class LCMScheduler : public ConsistencyScheduler {
 public:
  using ConsistencyScheduler::ConsistencyScheduler;

  at::Tensor step(const at::Tensor& model_output, int64_t call, const at::Tensor& sample,
                  const NoiseSource& noise) override;
  void show_memory(SchedulerMemory&) override {}  // each call stands for itself
};

}  // namespace backlot
