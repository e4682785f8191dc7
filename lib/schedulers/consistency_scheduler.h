// What samplers of consistency-distilled models have in common: their timesteps are picked from
// those that distillation used.
#pragma once

#include "schedulers/alpha_scheduler.h"

namespace backlot {

class ConsistencyScheduler : public AlphaScheduler {
 public:
  using AlphaScheduler::AlphaScheduler;

  // `steps` must not exceed the config's original_inference_steps.
  void set_timesteps(int64_t steps) override;
};

}  // namespace backlot
