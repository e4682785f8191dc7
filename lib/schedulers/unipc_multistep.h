// Zhao et al., "UniPC: a unified predictor-corrector framework" (arXiv 2302.04867). The corrector
// needs no further call: it mends the last step with the output that the next step uses anyway.
#pragma once

#include <vector>

#include "schedulers/log_snr_scheduler.h"

namespace backlot {

class UniPCMultistepScheduler : public LogSnrScheduler {
 public:
  explicit UniPCMultistepScheduler(Json config);

  void set_timesteps(int64_t steps) override;
  at::Tensor step(const at::Tensor& model_output, int64_t call, const at::Tensor& sample,
                  const NoiseSource& noise) override;
  void show_memory(SchedulerMemory& memory) override {
    memory.tensors(outputs_);
    memory.tensor(last_sample_);
    memory.number(last_order_);
  }

 private:
  // What an update of order n over h needs: the scaled divided differences of the n - 1 older
  // outputs, and the equations R rho = b for the weights of them and of the newest one.
  struct Expansion {
    std::vector<at::Tensor> differences;  // n - 1
    at::Tensor matrix, right_side;        // [n, n], [n], float32 on the CPU
    float phi, b_h;                       // expm1(+-h), B(h)
  };
  Expansion expand(int64_t from, int64_t to, int64_t order) const;

  Levels flow_levels(int64_t steps) const;
  at::Tensor predict(const at::Tensor& sample, int64_t call, int64_t order) const;
  at::Tensor correct(const at::Tensor& output, int64_t call, int64_t order) const;
  // The part that predictor and corrector share: the update to first order.
  at::Tensor first_order(const at::Tensor& sample, int64_t from, int64_t to, float phi) const;
  float direction_scale(int64_t to) const;

  int64_t order_;
  bool predict_x0_;
  std::vector<at::Tensor> outputs_;  // converted, newest last, at most solver_order
  at::Tensor last_sample_;
  int64_t last_order_ = 0;
};

}  // namespace backlot
