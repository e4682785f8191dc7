#include "pipelines/wan_denoiser.h"

#include <ATen/ATen.h>

namespace backlot {

WanDenoiser::WanDenoiser(const WanTransformer3DModel& transformer, const WanTexts& texts,
                         double scale, double step_cache)
    : transformer_(transformer), scale_(scale), step_cache_(step_cache) {
  for (const auto& text : {texts.positive, texts.negative}) {
    if (!text.defined()) continue;
    auto& branch = branches_.emplace_back();
    branch.conditioning = transformer.condition(text.to(transformer.dtype()));
    branch.cache.threshold = step_cache;
  }
}

at::Tensor WanDenoiser::predict(Branch& branch, const at::Tensor& latents,
                                const at::Tensor& timestep, bool whole) {
  const auto input = latents.to(transformer_.dtype());
  if (step_cache_ == 0) return transformer_(input, timestep, branch.conditioning).to(at::kFloat);
  branch.cache.must_run = whole;
  const auto out = transformer_(input, timestep, branch.conditioning, &branch.cache);
  if (!branch.cache.reused) {
    branch.latents = latents;
    branch.timestep = timestep;
  }
  return out.to(at::kFloat);
}

// Two calls, as in the reference: one for both would need twice the memory and, at a clip's size,
// as long.
at::Tensor WanDenoiser::operator()(const at::Tensor& latents, const at::Tensor& timestep,
                                   bool whole) {
  std::vector<at::Tensor> predicted;
  for (auto& branch : branches_) {
    predicted.push_back(predict(branch, latents, timestep, whole));
    skipped_ += branch.cache.reused;
  }
  if (predicted.size() == 1) return predicted[0];
  return predicted[1] + (predicted[0] - predicted[1]) * scale_;
}

std::vector<at::Tensor> WanDenoiser::memory() const {
  std::vector<at::Tensor> memory;
  if (step_cache_ == 0) return memory;
  for (const auto& branch : branches_) {
    memory.push_back(branch.latents);
    memory.push_back(branch.timestep);
  }
  return memory;
}

void WanDenoiser::recall(const std::vector<at::Tensor>& memory) {
  TORCH_CHECK(memory.size() == (step_cache_ == 0 ? 0 : 2 * branches_.size()),
              "a checkpoint of another clip");
  for (size_t i = 0; 2 * i < memory.size(); ++i) {
    const auto device = branches_[i].conditioning.text.front().k.device();
    predict(branches_[i], memory[2 * i].to(device), memory[2 * i + 1].to(device), true);
  }
}

}  // namespace backlot
