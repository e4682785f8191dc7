// The pipeline's class; load_wan() in wan.h makes it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "models/autoencoder_kl_wan.h"
#include "models/wan_transformer_3d.h"
#include "pipelines/memory_meter.h"
#include "pipelines/picture.h"
#include "pipelines/preview.h"
#include "pipelines/wan.h"
#include "pipelines/wan_denoiser.h"
#include "pipelines/wan_text_encoder.h"
#include "schedulers/scheduler.h"

namespace backlot {

struct WanParts {
  std::string where;  // the model, for messages
  at::Device device;
  WanTextEncoder text;
  WanTransformer3DModel transformer;
  // Wan 2.2: takes the steps below boundary_ratio of the training's timesteps.
  std::optional<WanTransformer3DModel> transformer_2;
  double boundary_ratio = 0;
  AutoencoderKLWan vae;
  Json scheduler_config;
  uint64_t memory_before = 0;  // MemoryMeter::held() before any of them was there
};

class WanPipeline final : public VideoPipeline {
 public:
  // A scene's latents after a step, for those who watch: [1, Z, f, h, w] float32. Calls are counted
  // over all scenes.
  using LatentsObserver = std::function<void(int64_t call, const at::Tensor& latents)>;

  explicit WanPipeline(WanParts parts);

  VideoResult generate(const VideoRequest& request, const FrameTaker& take_frame,
                       const VideoCheckpoints& checkpoints, Progress& progress) override;
  std::string dtype() const override;
  TextEncoderPlace text_encoder() const override { return parts_.text.place(); }
  bool move_text_encoder(TextEncoderPlace place) override;
  PipelineMemory memory() const override;

  void observe_latents(LatentsObserver observer) { observer_ = std::move(observer); }

 private:
  struct Sampling;

  // With at least one scene: a clip of one prompt is one.
  VideoRequest checked(const VideoRequest& request, std::vector<std::string>& warnings) const;
  void check_scenes(const std::vector<VideoScene>& scenes) const;
  std::vector<WanTexts> encode(const VideoRequest& request, std::vector<std::string>& warnings);
  Sampling begin(const VideoRequest& request, const VideoScene& scene) const;
  // Latents of each scene, [1, Z, f, h, w] float32.
  std::vector<at::Tensor> denoise(const VideoRequest& request, const std::vector<WanTexts>& texts,
                                  const VideoCheckpoints& checkpoints, Progress& progress,
                                  VideoResult& result);
  void show_preview(const at::Tensor& original, Progress& progress);
  // Lets go of each scene's latents once it is decoded.
  void decode(const VideoRequest& request, std::vector<at::Tensor> latents,
              const FrameTaker& take_frame, Progress& progress, VideoResult& result) const;
  void decode_scene(const VideoRequest& request, const at::Tensor& latents, const FrameTaker& take,
                    const Progress& progress) const;
  Json about(const VideoRequest& request) const;

  WanParts parts_;
  MemoryMeter meter_;
  uint64_t loaded_ = 0;  // meter_.held() with nothing being made
  LatentsObserver observer_;
  std::optional<PreviewProjection> previews_;  // made when the first one is wanted
};

}  // namespace backlot
