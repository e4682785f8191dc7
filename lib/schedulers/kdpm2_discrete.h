// DPM-Solver-2 as k-diffusion has it (Karras et al., arXiv 2206.00364, algorithm 2 with a midpoint
// in log sigma). Calls the denoiser twice a step, save for the last: 2 * steps - 1 calls.
#pragma once

#include <vector>

#include "schedulers/sigma_scheduler.h"

namespace backlot {

class KDPM2DiscreteScheduler : public SigmaScheduler {
 public:
  using SigmaScheduler::SigmaScheduler;

  void set_timesteps(int64_t steps) override;
  at::Tensor scale_model_input(const at::Tensor& sample, int64_t call) const override;
  at::Tensor step(const at::Tensor& model_output, int64_t call, const at::Tensor& sample,
                  const NoiseSource& noise) override;
  void show_memory(SchedulerMemory& memory) override {
    memory.tensor(start_);
  }

 protected:
  // Timesteps and levels of a run; the class adds the halfway points.
  Levels run_levels(int64_t steps) const;
  // Lays out calls from levels (without the final 0) and halfway points.
  void set_calls(const Levels& levels, const at::Tensor& halfway);

  std::vector<float> levels_;   // [steps + 1], the last one 0
  std::vector<float> halfway_;  // [steps], where the second call of a step is made
  std::vector<float> reached_;  // [steps], the level at which a step ends
  at::Tensor start_;            // of a step that is half done
};

// The same with noise added back after each step: one draw a step, none for the last, which is
// done after its first half.
class KDPM2AncestralDiscreteScheduler : public KDPM2DiscreteScheduler {
 public:
  using KDPM2DiscreteScheduler::KDPM2DiscreteScheduler;

  void set_timesteps(int64_t steps) override;
  at::Tensor step(const at::Tensor& model_output, int64_t call, const at::Tensor& sample,
                  const NoiseSource& noise) override;

 private:
  std::vector<float> added_;  // [steps], the noise added after a step
};

}  // namespace backlot
