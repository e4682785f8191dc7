// The pipeline's class; load_sdxl() in sdxl.h makes it.
#pragma once

#include <functional>
#include <string>
#include <tuple>
#include <vector>

#include "engine/engine.h"
#include "models/autoencoder_kl.h"
#include "models/unet_2d_condition.h"
#include "pipelines/memory_meter.h"
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
  uint64_t memory_before = 0;  // MemoryMeter::held() before any of them was there
};

// The latents after a step, for those who watch: [B, Z, h, w] float32.
using LatentsObserver = std::function<void(int64_t call, const at::Tensor& latents)>;

class SdxlPipeline final : public ImagePipeline {
 public:
  explicit SdxlPipeline(SdxlParts parts);

  std::vector<ImageResult> generate(std::span<const ImageRequest> batch,
                                    Progress& progress) override;
  std::vector<ImageResult> start(std::span<const ImageRequest> batch, Progress& progress) override;
  void prepare(std::span<const ImageRequest> requests, int64_t together) override;
  bool move_text_encoders_out() override;
  bool text_encoders_out() const override { return parts_.prompts.out(); }
  std::string dtype() const override;
  PipelineMemory memory() const override;

  void observe_latents(LatentsObserver observer) { observer_ = std::move(observer); }

  // From now on the denoiser is recorded with `recorder` and replayed.
  void record_with(std::unique_ptr<GraphRecorder> recorder);

 private:
  using Indices = std::vector<size_t>;
  struct InFlight;

  // What decides the working memory of a batch: items, width, height, tiling.
  using Footprint = std::tuple<size_t, int64_t, int64_t, bool>;

  std::vector<ImageResult> make(std::span<const ImageRequest> batch, Progress& progress);
  void check(std::span<const ImageRequest> batch) const;
  void begin_measuring(std::span<const ImageRequest> batch);
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

  SdxlParts parts_;
  MemoryMeter meter_;
  uint64_t loaded_ = 0;  // meter_.held() with nothing being made
  Footprint footprint_;  // of the last batch
  LatentsObserver observer_;
  std::unique_ptr<StepGraphs> graphs_;                 // where the denoiser is recorded
  mutable uint64_t runs_ = 0;                          // of denoise()
  mutable std::optional<PreviewProjection> previews_;  // made when the first one is wanted
};

}  // namespace backlot
