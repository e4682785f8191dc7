#include "schedulers/consistency_scheduler.h"

#include <cmath>

namespace backlot {

void ConsistencyScheduler::set_timesteps(int64_t steps) {
  const auto original = config_.at("original_inference_steps").get<int64_t>();
  check_steps(steps, original);
  const auto stride = schedule_.train_steps() / original;
  const double spacing = static_cast<double>(original) / static_cast<double>(steps);
  std::vector<double> timesteps;
  for (int64_t i = 0; i < steps; ++i) {
    const auto index = static_cast<int64_t>(std::floor(static_cast<double>(i) * spacing));
    timesteps.push_back(static_cast<double>((original - index) * stride - 1));
  }
  timesteps_ = as_int64_tensor(timesteps);
}

}  // namespace backlot
