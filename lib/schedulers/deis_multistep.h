// Zhang and Chen, "Fast sampling of diffusion models with exponential integrator" (arXiv
// 2204.13902): the multistep method over log rho, rho = sigma / alpha.
#pragma once

#include <vector>

#include "schedulers/log_snr_scheduler.h"

namespace backlot {

class DEISMultistepScheduler : public LogSnrScheduler {
 public:
  using LogSnrScheduler::LogSnrScheduler;

  void set_timesteps(int64_t steps) override;
  at::Tensor step(const at::Tensor& model_output, int64_t call, const at::Tensor& sample,
                  const NoiseSource& noise) override;
  void show_memory(SchedulerMemory& memory) override {
    memory.tensors(outputs_);
  }

 private:
  std::vector<at::Tensor> outputs_;  // predicted noise, newest last, at most solver_order
};

}  // namespace backlot
