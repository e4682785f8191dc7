#include "schedulers/dpm_solver_multistep.h"

#include <algorithm>

namespace backlot {

void DPMSolverMultistepScheduler::set_timesteps(int64_t steps) {
  const auto last = schedule_.train_steps() - lambda_clipped();
  set_levels(spaced_timesteps(config_, last, steps, Linspace::open), steps,
             config_.at("beta_schedule") != "squaredcos_cap_v2");
  outputs_.clear();
}

int64_t DPMSolverMultistepScheduler::order_at(int64_t call) const {
  const auto left = timesteps_.numel() - call;
  const bool few = config_.at("lower_order_final").get<bool>() && timesteps_.numel() < 15;
  const bool first_order_end =
      config_.at("euler_at_final").get<bool>() || few || config_.at("final_sigmas_type") == "zero";
  auto order = std::min<int64_t>(order_, outputs_.size());
  if (left == 1 && first_order_end) order = 1;
  if (left == 2 && few) order = std::min<int64_t>(order, 2);
  return order;
}

std::vector<at::Tensor> DPMSolverMultistepScheduler::differences(int64_t call,
                                                                 int64_t order) const {
  const auto& m0 = outputs_.back();
  if (order == 1) return {m0};
  const float lambda = level(call).lambda(), earlier = level(call - 1).lambda();
  const float h = level(call + 1).lambda() - lambda;
  const float r0 = (lambda - earlier) / h;
  const auto& m1 = outputs_.end()[-2];
  const auto newer = (m0 - m1) * (1 / r0);
  if (order == 2) return {m0, newer};
  const float r1 = (earlier - level(call - 2).lambda()) / h;
  const auto older = (m1 - outputs_.end()[-3]) * (1 / r1);
  const auto change = newer - older;
  return {m0, newer + change * (r0 / (r0 + r1)), change * (1 / (r0 + r1))};
}

at::Tensor DPMSolverMultistepScheduler::step(const at::Tensor& model_output, int64_t call,
                                             const at::Tensor& sample, const NoiseSource& noise) {
  const auto converted = convert(model_output, sample, call);
  if (static_cast<int64_t>(outputs_.size()) == order_) outputs_.erase(outputs_.begin());
  outputs_.push_back(converted);
  const auto order = order_at(call);
  const auto stepped =
      update(sample.to(at::kFloat), differences(call, order), level(call), level(call + 1),
             midpoint_ && order == 2, stochastic() ? noise() : at::Tensor());
  return stepped.to(converted.dtype());
}

}  // namespace backlot
