// Ho et al., "Denoising diffusion probabilistic models" (arXiv 2006.11239), formula 7. Draws noise
// at each step but one at timestep 0.
#pragma once

#include "schedulers/alpha_scheduler.h"

namespace backlot {

class DDPMScheduler : public AlphaScheduler {
 public:
  using AlphaScheduler::AlphaScheduler;

  void set_timesteps(int64_t steps) override;
  at::Tensor step(const at::Tensor& model_output, int64_t call, const at::Tensor& sample,
                  const NoiseSource& noise) override;
  void show_memory(SchedulerMemory&) override {}  // each call stands for itself

 private:
  // The standard deviation of the noise to add.
  float deviation(float alpha, float next_alpha) const;
};

}  // namespace backlot
