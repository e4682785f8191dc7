// SDXL as one file under its original names, as model sites hand it out. No LibTorch here.
#pragma once

#include <memory>
#include <string_view>

#include "base/json.h"
#include "weights/checkpoint.h"

namespace backlot {

// Throws LoadError unless the file's names are those of a whole SDXL checkpoint (UNet, both text
// encoders, autoencoder); says what it is where its names tell (an SD 1.5 checkpoint, a LoRA, …).
void check_sdxl_file(const SafetensorsFile& file);

// The tensors of "unet", "vae", "text_encoder" or "text_encoder_2" under diffusers' names: views of
// the file, OpenCLIP's fused projections split by rows. Left out: position_ids and logit_scale,
// which the networks have no use for, and whatever lies outside the four components (model_ema.*,
// denoiser.sigmas, …). A name inside one that SDXL does not have stays as it is, for the binding to
// report.
Checkpoint sdxl_component(std::shared_ptr<const SafetensorsFile> file, std::string_view component);

// SDXL base's published model_index.json, and its components' configs, "scheduler" among them; in
// messages about others `where` is the model. SDXL-Turbo has another scheduler.
const Json& sdxl_index();
Json published_sdxl_config(std::string_view component, std::string_view where);
Json turbo_scheduler_config();

// The published configs, as far as a file does not say otherwise: markers that community
// checkpoints carry (v_pred, ztsnr) change the scheduler's.
Json sdxl_config(const SafetensorsFile& file, std::string_view component);

}  // namespace backlot
