// One of Wan's transformers at work on one clip, with guidance and, if wanted, a step cache.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "models/wan_transformer_3d.h"

namespace backlot {

// Encoded prompts, [1, T, X]; the negative one is undefined without guidance.
struct WanTexts {
  at::Tensor positive, negative;
};

class WanDenoiser {
 public:
  // `step_cache`: WanStepCache::threshold; 0: none.
  WanDenoiser(const WanTransformer3DModel& transformer, const WanTexts& texts, double scale,
              double step_cache);

  // latents: [1, Z, f, h, w] float32, timestep: [1] -> the guided prediction, float32. `whole`:
  // nothing is reused.
  at::Tensor operator()(const at::Tensor& latents, const at::Tensor& timestep, bool whole);

  // Evaluations that the step cache saved, since the construction.
  int64_t skipped() const { return skipped_; }

  // What its answers depend on beyond its arguments, and back: of each text the latents and the
  // timestep of the last whole evaluation, of which the cache is made again by another one. That is
  // a hundredth of the cache's own size. Nothing without a step cache.
  std::vector<at::Tensor> memory() const;
  void recall(const std::vector<at::Tensor>& memory);

 private:
  struct Branch {
    WanConditioning conditioning;
    WanStepCache cache;
    at::Tensor latents, timestep;  // of the last whole evaluation
  };

  at::Tensor predict(Branch& branch, const at::Tensor& latents, const at::Tensor& timestep,
                     bool whole);

  const WanTransformer3DModel& transformer_;
  std::vector<Branch> branches_;  // of the prompt, and with guidance of the negative one
  double scale_, step_cache_;
  int64_t skipped_ = 0;
};

}  // namespace backlot
