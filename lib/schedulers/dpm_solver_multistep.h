// DPM-Solver with earlier outputs in place of further calls: "DPM++ 2M" and its stochastic form
// (one draw of noise a step).
#pragma once

#include <vector>

#include "schedulers/dpm_solver.h"

namespace backlot {

class DPMSolverMultistepScheduler : public DpmSolver {
 public:
  using DpmSolver::DpmSolver;

  void set_timesteps(int64_t steps) override;
  at::Tensor step(const at::Tensor& model_output, int64_t call, const at::Tensor& sample,
                  const NoiseSource& noise) override;
  void show_memory(SchedulerMemory& memory) override {
    memory.tensors(outputs_);
  }

 private:
  int64_t order_at(int64_t call) const;
  // The newest output and its divided differences over lambda, `order` of them.
  std::vector<at::Tensor> differences(int64_t call, int64_t order) const;

  std::vector<at::Tensor> outputs_;  // converted, newest last, at most solver_order
};

}  // namespace backlot
