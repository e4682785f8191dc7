// The kernels of each architecture's networks at one size, from the networks' configs.
#pragma once

#include "engine/probe.h"
#include "models/autoencoder_kl.h"
#include "models/clip_text_model.h"
#include "models/unet_2d_condition.h"
#include "probe/operators.h"
#include "weights/model_folder.h"

namespace backlot {

// Rows of a batch, and the picture or clip that they make, in pixels.
struct PlanSize {
  int64_t batch = 1, width = 1024, height = 1024;
};

// One evaluation of the UNet ("unet"), and what it makes of text and time once a run
// ("unet.condition"). height, width: of the latents.
void plan_unet(KernelPlan& plan, const UNet2DConditionConfig& config, int64_t batch, int64_t height,
               int64_t width, const operators::Habits& habits);
// "vae.decoder"; height, width: of the latents
void plan_vae_decoder(KernelPlan& plan, const AutoencoderKLConfig& config, int64_t batch,
                      int64_t height, int64_t width, const operators::Habits& habits);
void plan_clip(KernelPlan& plan, const std::string& network, const CLIPTextConfig& config,
               int64_t batch);

// Text encoders, UNet and autoencoder. Throws UsageError if the size is none.
std::vector<Kernel> plan_sdxl(const ModelFolder& model, const PlanSize& size, at::ScalarType dtype,
                              at::Device device);

// wan-1.3b and wan-14b: "text_encoder" (UMT5-XXL), "transformer" at 81 frames, and what that makes
// of the text once a run, "transformer.condition". Left out: the autoencoder, rotations.
std::vector<Kernel> plan_wan(std::string_view name, const PlanSize& size);

// qwen2.5-7b: "language.prefill", a prompt of 512 tokens, and "language.decode", one token after
// them. qwen3-vl-4b and -8b have "vision" too, for one picture, whose tokens are in the prompt.
std::vector<Kernel> plan_qwen(std::string_view name, const PlanSize& size);

// By the architecture's name, or a model folder's path; which layers work as one depends on dtype
// and device. Throws UsageError, LoadError.
std::vector<Kernel> plan_kernels(const std::string& architecture, const PlanSize& size,
                                 at::ScalarType dtype = at::kFloat, at::Device device = at::kCPU);

}  // namespace backlot
