// Heun's second-order method for flow matching. Calls the denoiser twice a step, save for the
// last: 2 * steps - 1 calls.
#pragma once

#include "schedulers/flow_scheduler.h"

namespace backlot {

class FlowMatchHeunDiscreteScheduler : public FlowScheduler {
 public:
  using FlowScheduler::FlowScheduler;

  void set_timesteps(int64_t steps) override;
  at::Tensor step(const at::Tensor& model_output, int64_t call, const at::Tensor& sample,
                  const NoiseSource& noise) override;
  void show_memory(SchedulerMemory& memory) override {
    memory.tensor(start_);
    memory.tensor(first_derivative_);
  }

 private:
  at::Tensor start_, first_derivative_;  // of a step that is half done
};

}  // namespace backlot
