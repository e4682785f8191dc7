// The pipeline's class; load_sdxl() in sdxl.h makes it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "models/autoencoder_kl.h"
#include "models/unet_2d_condition.h"
#include "pipelines/picture.h"
#include "pipelines/preview.h"
#include "pipelines/prompt_encoder.h"
#include "pipelines/step_graphs.h"
#include "schedulers/scheduler.h"

namespace backlot {

struct SdxlParts {
  std::string where;  // the model, for messages
  at::Device device;
  PromptEncoder prompts;
  UNet2DConditionModel unet;
  AutoencoderKL vae;
  Json scheduler_config;
};

// The latents after a step, for those who watch: [B, Z, h, w] float32.
using LatentsObserver = std::function<void(int64_t call, const at::Tensor& latents)>;

class SdxlPipeline final : public ImagePipeline {
 public:
  explicit SdxlPipeline(SdxlParts parts);

  std::vector<ImageResult> generate(std::span<const ImageRequest> batch,
                                    Progress& progress) override;
  std::vector<ImageResult> start(std::span<const ImageRequest> batch, Progress& progress) override;
  std::string dtype() const override;
  uint64_t bytes_per_item(int64_t width, int64_t height, bool guidance) const override;

  void observe_latents(LatentsObserver observer) { observer_ = std::move(observer); }

  // From now on the denoiser is recorded with `recorder` and replayed.
  void record_with(std::unique_ptr<GraphRecorder> recorder);

 private:
  using Indices = std::vector<size_t>;
  struct InFlight;

  std::vector<ImageResult> make(std::span<const ImageRequest> batch, Progress& progress);
  void check(std::span<const ImageRequest> batch) const;
  std::vector<UNetConditioning> condition(std::span<const ImageRequest> batch, const Indices& items,
                                          std::span<const EncodedPrompt> prompts,
                                          const at::Tensor& timesteps) const;
  at::Tensor denoise(std::span<const ImageRequest> batch, const Indices& items,
                     std::span<const EncodedPrompt> prompts, Progress& progress) const;
  at::Tensor predict(const at::Tensor& input, std::span<const UNetConditioning> parts, int64_t call,
                     uint64_t run, std::span<at::Tensor> deep) const;
  at::Tensor predict_recorded(const at::Tensor& input, const UNetConditioning& conditioning,
                              int64_t call, uint64_t run) const;
  void show_previews(const at::Tensor& latents, const Indices& items, Progress& progress) const;
  at::Tensor decode_together(const at::Tensor& z) const;
  void decode(const at::Tensor& latents, bool tiled, int64_t total, InFlight& pictures,
              Progress& progress) const;
  uint64_t decode_bytes(int64_t width, int64_t height) const;

  SdxlParts parts_;
  LatentsObserver observer_;
  std::unique_ptr<StepGraphs> graphs_;                 // where the denoiser is recorded
  mutable uint64_t runs_ = 0;                          // of denoise()
  mutable std::optional<PreviewProjection> previews_;  // made when the first one is wanted
};

}  // namespace backlot
