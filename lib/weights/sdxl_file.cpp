#include "weights/sdxl_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "base/error.h"
#include "weights/sdxl_names.h"

namespace backlot {
namespace {

using Tensors = std::map<std::string, TensorView, std::less<>>;

// Carried by components, of no use to their networks.
constexpr std::array ignored = {
    std::string_view("text_model.embeddings.position_ids"),  // 0 to 76
    std::string_view("logit_scale"),                         // CLIP's training loss
};

struct Impostor {
  std::string_view marker;  // a part of one of its tensors' names
  std::string_view what;
};

// In this order: the first whose marker is found names the file.
constexpr std::array impostors = {
    Impostor{"lora_", "a LoRA, not a model"},
    Impostor{".lora_A.", "a LoRA, not a model"},
    Impostor{"lokr_w1", "a LyCORIS adapter, not a model"},
    Impostor{"hada_w1_a", "a LyCORIS adapter, not a model"},
    Impostor{"control_model.", "a ControlNet, not a model"},
    Impostor{"controlnet_cond_embedding.", "a ControlNet, not a model"},
    Impostor{"edm_mean", "Playground v2.5, whose sampling backlot does not have"},
    Impostor{"cond_stage_model.transformer.", "Stable Diffusion 1.x, not SDXL"},
    Impostor{"cond_stage_model.model.", "Stable Diffusion 2.x, not SDXL"},
    Impostor{"conditioner.embedders.0.model.", "the SDXL refiner, not SDXL base"},
    Impostor{"joint_blocks.", "Stable Diffusion 3, not SDXL"},
    Impostor{"double_blocks.", "Flux, not SDXL"},
    Impostor{"clip_g", "a textual inversion embedding, not a model"},
    Impostor{"emb_params", "a textual inversion embedding, not a model"},
    Impostor{"model.layers.", "a language model"},
};

// Parts of a diffusers folder, whose names an incomplete checkpoint has too.
constexpr std::array components = {
    Impostor{"down_blocks.", "one component of a diffusers folder"},
    Impostor{"text_model.", "one text encoder, not a whole model"},
};

bool has_prefix(const Tensors& tensors, std::string_view prefix) {
  const auto first = tensors.lower_bound(prefix);
  return first != tensors.end() && first->first.starts_with(prefix);
}

bool any_name_has(const Tensors& tensors, std::string_view marker) {
  return std::ranges::any_of(
      tensors, [&](const auto& entry) { return entry.first.find(marker) != std::string::npos; });
}

std::string first_names(const Tensors& tensors) {
  std::string names;
  int count = 0;
  for (const auto& [name, view] : tensors) {
    if (count++ == 4) return names + ", …";
    names += (count > 1 ? ", " : "") + name;
  }
  return names.empty() ? "none" : names;
}

std::string_view prefix_of(std::string_view component) {
  const auto found = std::ranges::find(sdxl_components(), component, &SdxlComponent::name);
  return found == sdxl_components().end() ? std::string_view() : found->prefix;
}

// Rows [part * n, (part + 1) * n) of a fused [3 n, …] tensor.
TensorView third(const TensorView& fused, size_t part) {
  TensorView view = fused;
  view.shape[0] /= 3;
  const size_t bytes = fused.bytes.size() / 3;
  view.bytes = fused.bytes.subspan(part * bytes, bytes);
  return view;
}

// "transformer.resblocks.7.attn.in_proj_weight" as three; false for any other name.
bool add_fused(std::string_view name, const TensorView& view, Tensors& out) {
  constexpr std::string_view place = "transformer.resblocks.";
  const size_t attention = name.find(".attn.in_proj_");
  if (!name.starts_with(place) || attention == std::string_view::npos) return false;
  if (view.shape.empty() || view.shape[0] % 3 != 0) return false;
  const auto layer = name.substr(place.size(), attention - place.size());
  const auto kind = name.substr(attention + 14);  // "weight" or "bias"
  constexpr std::array parts = {"q_proj", "k_proj", "v_proj"};
  for (size_t i = 0; i < parts.size(); ++i)
    out.emplace(fmt::format("text_model.encoder.layers.{}.self_attn.{}.{}", layer, parts[i], kind),
                third(view, i));
  return true;
}

// The autoencoder's attention is 1x1 convolutions in the original, linear layers in diffusers.
TensorView as_linear(const TensorView& view) {
  TensorView linear = view;
  if (view.shape.size() == 4 && view.shape[2] == 1 && view.shape[3] == 1) linear.shape.resize(2);
  return linear;
}

void add_open_clip(std::string_view name, const TensorView& view, Tensors& out) {
  if (add_fused(name, view, out)) return;
  const auto translated = diffusers_open_clip_name(name);
  TensorView placed = view;
  // OpenCLIP multiplies from the left: [in, out] in the file, [out, in] for a linear layer.
  if (name == "text_projection" && view.shape.size() == 2) {
    std::swap(placed.shape[0], placed.shape[1]);
    placed.transposed = true;
  }
  out.emplace(translated.value_or(std::string(name)), std::move(placed));
}

void add(std::string_view component, std::string_view name, const TensorView& view, Tensors& out) {
  if (std::ranges::find(ignored, name) != ignored.end()) return;
  if (component == "unet") {
    out.emplace(diffusers_unet_name(name).value_or(std::string(name)), view);
  } else if (component == "vae") {
    const std::string translated = diffusers_vae_name(name).value_or(std::string(name));
    const bool attention = translated.find(".attentions.") != std::string::npos;
    out.emplace(translated, attention ? as_linear(view) : view);
  } else if (component == "text_encoder") {
    out.emplace(name, view);
  } else {
    add_open_clip(name, view, out);
  }
}

}  // namespace

void check_sdxl_file(const SafetensorsFile& file) {
  const auto& tensors = file.tensors();
  std::vector<std::string_view> absent;
  for (const auto& [name, prefix] : sdxl_components())
    if (!has_prefix(tensors, prefix)) absent.push_back(name);
  if (absent.empty() && !tensors.contains("edm_mean")) return;
  const auto refuse = [&](std::string what, std::string_view mend) {
    throw LoadError(file.path().string(), std::move(what), std::string(mend));
  };
  for (const auto& [marker, what] : impostors)
    if (any_name_has(tensors, marker))
      refuse(fmt::format("this is {}", what), "give an SDXL checkpoint or a diffusers folder");
  if (absent.size() < sdxl_components().size())
    refuse(fmt::format("an SDXL checkpoint without {}", fmt::join(absent, ", ")),
           "get the complete checkpoint");
  for (const auto& [marker, what] : components)
    if (any_name_has(tensors, marker))
      refuse(fmt::format("this is {}", what), "give the folder that has model_index.json");
  refuse(fmt::format("not an SDXL checkpoint; its first tensors: {}", first_names(tensors)),
         "give an SDXL checkpoint or a diffusers folder");
}

Checkpoint sdxl_component(std::shared_ptr<const SafetensorsFile> file, std::string_view component) {
  const std::string_view prefix = prefix_of(component);
  if (prefix.empty())
    throw LoadError(file->path().string(), fmt::format("has no component '{}'", component),
                    "an SDXL checkpoint has unet, vae, text_encoder and text_encoder_2");
  Tensors out;
  for (auto entry = file->tensors().lower_bound(prefix);
       entry != file->tensors().end() && entry->first.starts_with(prefix); ++entry)
    add(component, std::string_view(entry->first).substr(prefix.size()), entry->second, out);
  std::string where = file->path().string();
  return Checkpoint(std::move(where), {std::move(file)}, std::move(out));
}

}  // namespace backlot
