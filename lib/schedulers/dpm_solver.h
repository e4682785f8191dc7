// The formulas of DPM-Solver and DPM-Solver++ (arXiv 2206.00927, 2211.01095), for the multistep
// and the single-step sampler.
#pragma once

#include <string>
#include <vector>

#include "schedulers/log_snr_scheduler.h"

namespace backlot {

class DpmSolver : public LogSnrScheduler {
 public:
  explicit DpmSolver(Json config);

 protected:
  // Levels of the run in sigmas_ and timesteps_, after `timesteps` have been spaced.
  void set_levels(std::vector<double> timesteps, int64_t steps, bool round_karras);

  // The denoiser's output as the algorithm wants it: the original sample (++) or the noise.
  at::Tensor convert(const at::Tensor& model_output, const at::Tensor& sample, int64_t index) const;

  // One update from `from` to `to`, over h = lambda(to) - lambda(from):
  //   x = sample * x_weight + sum of differences[i] * weight[i] + noise * noise_weight
  // with as many finite differences of the outputs as the order. `noise` is undefined for the
  // algorithms without.
  at::Tensor update(const at::Tensor& sample, const std::vector<at::Tensor>& differences,
                    const Level& from, const Level& to, bool midpoint,
                    const at::Tensor& noise) const;

  bool stochastic() const { return stochastic_; }
  int64_t lambda_clipped() const;  // how many of the noisiest timesteps lambda_min_clipped drops

  int64_t order_;
  bool midpoint_;  // solver_type; else Heun

 private:
  bool plus_plus_, stochastic_;
};

}  // namespace backlot
