// DPM-Solver in groups of steps of rising order, each group going again from its first sample.
#pragma once

#include <vector>

#include "schedulers/dpm_solver.h"

namespace backlot {

class DPMSolverSinglestepScheduler : public DpmSolver {
 public:
  using DpmSolver::DpmSolver;

  void set_timesteps(int64_t steps) override;
  at::Tensor step(const at::Tensor& model_output, int64_t call, const at::Tensor& sample,
                  const NoiseSource& noise) override;
  void show_memory(SchedulerMemory& memory) override {
    memory.tensors(outputs_);
    memory.tensor(start_);
  }

 private:
  std::vector<int64_t> orders_;      // [calls]
  std::vector<at::Tensor> outputs_;  // converted, newest last, at most solver_order
  at::Tensor start_;                 // of the current group
};

}  // namespace backlot
