// Names of SDXL's tensors in one-file checkpoints (Stability's sgm code) and in diffusers folders.
// Reference: diffusers/loaders/single_file_utils.py.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace backlot {

// Components by diffusers' names, with the prefix their tensors have in a one-file checkpoint.
struct SdxlComponent {
  std::string_view name, prefix;
};
const std::vector<SdxlComponent>& sdxl_components();

// diffusers' name of an original one (without its component's prefix); nullopt if SDXL has no such
// tensor. The text encoders' names keep the "text_model." that published folders have.
std::optional<std::string> diffusers_unet_name(std::string_view original);
std::optional<std::string> diffusers_vae_name(std::string_view original);
// OpenCLIP's text tower, its fused "attn.in_proj_weight" and "attn.in_proj_bias" excepted.
std::optional<std::string> diffusers_open_clip_name(std::string_view original);

// Attention layers of autoencoders had other names ("query", "proj_attn") before diffusers 0.17;
// any other name comes back as it is.
std::string current_attention_name(std::string_view name);

}  // namespace backlot
