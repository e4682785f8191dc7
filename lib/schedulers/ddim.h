// Song et al., "Denoising diffusion implicit models" (arXiv 2010.02502), formulas 12 and 16.
// Draws noise only if the config's `eta` is above 0.
#pragma once

#include "schedulers/alpha_scheduler.h"

namespace backlot {

class DDIMScheduler : public AlphaScheduler {
 public:
  using AlphaScheduler::AlphaScheduler;

  void set_timesteps(int64_t steps) override;
  at::Tensor step(const at::Tensor& model_output, int64_t call, const at::Tensor& sample,
                  const NoiseSource& noise) override;
  void show_memory(SchedulerMemory&) override {}  // each call stands for itself

 private:
  int64_t stride_ = 0;  // training timesteps a step
};

}  // namespace backlot
