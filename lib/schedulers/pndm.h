// Liu et al., "Pseudo numerical methods for diffusion models on manifolds" (arXiv 2202.09778):
// linear multistep (PLMS), with Runge-Kutta steps first unless skip_prk_steps. With it there are
// steps + 1 calls of the denoiser: the second timestep comes twice.
#pragma once

#include <vector>

#include "schedulers/alpha_scheduler.h"

namespace backlot {

class PNDMScheduler : public AlphaScheduler {
 public:
  using AlphaScheduler::AlphaScheduler;

  void set_timesteps(int64_t steps) override;
  at::Tensor step(const at::Tensor& model_output, int64_t call, const at::Tensor& sample,
                  const NoiseSource& noise) override;
  void show_memory(SchedulerMemory& memory) override {
    memory.tensors(outputs_);
    memory.tensor(accumulated_);
    memory.tensor(start_);
    memory.number(calls_);
  }

 private:
  at::Tensor step_runge_kutta(const at::Tensor& model_output, int64_t t, const at::Tensor& sample);
  at::Tensor step_multistep(const at::Tensor& model_output, int64_t t, const at::Tensor& sample);
  // Formula 9: from timestep t to `next` along `epsilon`.
  at::Tensor transfer(const at::Tensor& sample, int64_t t, int64_t next,
                      const at::Tensor& model_output) const;

  int64_t stride_ = 0;                // training timesteps a step
  std::vector<int64_t> runge_kutta_;  // timesteps of the calls that open a run
  int64_t calls_ = 0;
  std::vector<at::Tensor> outputs_;  // the latest denoiser outputs, newest last, at most 4
  at::Tensor accumulated_, start_;
};

}  // namespace backlot
