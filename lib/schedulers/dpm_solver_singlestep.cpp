#include "schedulers/dpm_solver_singlestep.h"

#include <algorithm>
#include <cmath>

namespace backlot {
namespace {

// 1, 2, ..., order over and over; `ends_low`: the rest of the steps goes by lower orders, and a
// full last group gives one order up, so that the run ends at first order.
std::vector<int64_t> group_orders(int64_t steps, int64_t order, bool ends_low) {
  std::vector<int64_t> orders;
  for (int64_t i = 0; i < steps; ++i) orders.push_back(i % order + 1);
  if (ends_low && order > 1 && steps % order == 0) orders.back() = 1;
  return orders;
}

}  // namespace

void DPMSolverSinglestepScheduler::set_timesteps(int64_t steps) {
  const auto train = schedule_.train_steps();
  check_steps(steps, train);
  auto timesteps = linspace(0, static_cast<double>(train - 1 - lambda_clipped()), steps + 1);
  std::reverse(timesteps.begin(), timesteps.end());
  timesteps.pop_back();
  for (auto& timestep : timesteps) timestep = std::nearbyint(timestep);
  set_levels(std::move(timesteps), steps, true);

  // The reference switches lower_order_final on where the steps do not fill the groups.
  const bool zero = config_.at("final_sigmas_type") == "zero";
  const bool low = config_.at("lower_order_final").get<bool>() || steps % order_ != 0 || zero;
  orders_ = group_orders(steps, order_, low);
  if (zero) orders_.back() = 1;
  outputs_.clear();
  start_.reset();
}

at::Tensor DPMSolverSinglestepScheduler::step(const at::Tensor& model_output, int64_t call,
                                              const at::Tensor& sample, const NoiseSource& noise) {
  if (static_cast<int64_t>(outputs_.size()) == order_) outputs_.erase(outputs_.begin());
  outputs_.push_back(convert(model_output, sample, call));
  const auto order = std::min<int64_t>(orders_.at(call), outputs_.size());
  if (order == 1) start_ = sample;

  const auto from = level(call - order + 1), to = level(call + 1);
  const auto& first = outputs_.end()[-order];
  std::vector<at::Tensor> differences = {first};
  if (order > 1) {
    const float h = to.lambda() - from.lambda();
    const float r0 = (level(call).lambda() - from.lambda()) / h;
    const auto over_all = (outputs_.back() - first) * (1 / r0);
    if (order == 2 || midpoint_) {
      differences.push_back(over_all);
    } else {
      const float r1 = (level(call - 1).lambda() - from.lambda()) / h;
      const auto over_first = (outputs_.end()[-2] - first) * (1 / r1);
      differences.push_back((over_first * r0 - over_all * r1) / (r0 - r1));
      differences.push_back((over_all - over_first) * 2 / (r0 - r1));
    }
  }
  return update(start_, differences, from, to, midpoint_ && order == 2,
                stochastic() ? noise().to(sample.dtype()) : at::Tensor());
}

}  // namespace backlot
