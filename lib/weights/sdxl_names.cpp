#include "weights/sdxl_names.h"

#include <fmt/format.h>

#include <charconv>
#include <initializer_list>
#include <utility>

namespace backlot {
namespace {

constexpr int layers_per_block = 2;
constexpr int unet_blocks = 3;
constexpr int vae_blocks = 4;

using Renames = std::initializer_list<std::pair<std::string_view, std::string_view>>;
using Name = std::optional<std::string>;

// Takes `prefix` off the front of `text`; false if it is not there.
bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

// Takes "12." off the front.
std::optional<int> take_index(std::string_view& text) {
  int index = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  const auto length = static_cast<size_t>(end - text.data());
  if (error != std::errc() || index < 0 || length >= text.size() || text[length] != '.')
    return std::nullopt;
  text.remove_prefix(length + 1);
  return index;
}

// The first rename whose left side begins `rest`, after `place`.
Name renamed(std::string_view place, std::string_view rest, Renames renames) {
  for (const auto& [from, to] : renames)
    if (take(rest, from)) return fmt::format("{}{}{}", place, to, rest);
  return std::nullopt;
}

Name unet_resnet(const std::string& place, std::string_view rest) {
  return renamed(place, rest,
                 {{"in_layers.0.", "norm1."},
                  {"in_layers.2.", "conv1."},
                  {"emb_layers.1.", "time_emb_proj."},
                  {"out_layers.0.", "norm2."},
                  {"out_layers.3.", "conv2."},
                  {"skip_connection.", "conv_shortcut."}});
}

// Below its place a transformer's names are the same in both.
Name unet_attention(const std::string& place, std::string_view rest) {
  return renamed(place, rest,
                 {{"norm.", "norm."},
                  {"proj_in.", "proj_in."},
                  {"proj_out.", "proj_out."},
                  {"transformer_blocks.", "transformer_blocks."}});
}

// Input block 0 is conv_in; then each block is its layers and, but for the last, a downsampler.
Name unet_input_block(std::string_view rest) {
  const auto index = take_index(rest), part = take_index(rest);
  if (!index || !part) return std::nullopt;
  if (*index == 0) return *part == 0 ? Name("conv_in." + std::string(rest)) : std::nullopt;
  const int block = (*index - 1) / (layers_per_block + 1);
  const int layer = (*index - 1) % (layers_per_block + 1);
  if (block >= unet_blocks) return std::nullopt;
  if (*part == 0 && layer == layers_per_block)
    return renamed(fmt::format("down_blocks.{}.downsamplers.0.", block), rest, {{"op.", "conv."}});
  if (layer == layers_per_block) return std::nullopt;
  if (*part == 0) return unet_resnet(fmt::format("down_blocks.{}.resnets.{}.", block, layer), rest);
  if (*part == 1)
    return unet_attention(fmt::format("down_blocks.{}.attentions.{}.", block, layer), rest);
  return std::nullopt;
}

Name unet_middle_block(std::string_view rest) {
  const auto part = take_index(rest);
  if (part == 0) return unet_resnet("mid_block.resnets.0.", rest);
  if (part == 1) return unet_attention("mid_block.attentions.0.", rest);
  if (part == 2) return unet_resnet("mid_block.resnets.1.", rest);
  return std::nullopt;
}

// One layer more than on the way down; the upsampler follows in the last layer's place.
Name unet_output_block(std::string_view rest) {
  const auto index = take_index(rest), part = take_index(rest);
  if (!index || !part) return std::nullopt;
  const int block = *index / (layers_per_block + 1);
  const int layer = *index % (layers_per_block + 1);
  if (block >= unet_blocks) return std::nullopt;
  if (*part == 0) return unet_resnet(fmt::format("up_blocks.{}.resnets.{}.", block, layer), rest);
  if (*part <= 2 && layer == layers_per_block && rest.starts_with("conv."))
    return fmt::format("up_blocks.{}.upsamplers.0.{}", block, rest);
  if (*part == 1)
    return unet_attention(fmt::format("up_blocks.{}.attentions.{}.", block, layer), rest);
  return std::nullopt;
}

Name vae_resnet(const std::string& place, std::string_view rest) {
  return renamed(place, rest,
                 {{"norm1.", "norm1."},
                  {"norm2.", "norm2."},
                  {"conv1.", "conv1."},
                  {"conv2.", "conv2."},
                  {"nin_shortcut.", "conv_shortcut."}});
}

Name vae_middle(const std::string& place, std::string_view rest) {
  if (take(rest, "block_1.")) return vae_resnet(place + "mid_block.resnets.0.", rest);
  if (take(rest, "block_2.")) return vae_resnet(place + "mid_block.resnets.1.", rest);
  if (take(rest, "attn_1."))
    return renamed(place + "mid_block.attentions.0.", rest,
                   {{"norm.", "group_norm."},
                    {"q.", "to_q."},
                    {"k.", "to_k."},
                    {"v.", "to_v."},
                    {"proj_out.", "to_out.0."}});
  return std::nullopt;
}

// "down.1.block.0.conv1.weight" of the encoder, "up.…" of the decoder, whose blocks the original
// counts from the picture's side.
Name vae_block(const std::string& half, bool up, std::string_view rest) {
  const auto index = take_index(rest);
  if (!index || *index >= vae_blocks) return std::nullopt;
  const std::string place = up ? fmt::format("{}up_blocks.{}.", half, vae_blocks - 1 - *index)
                               : fmt::format("{}down_blocks.{}.", half, *index);
  if (take(rest, "block.")) {
    const auto layer = take_index(rest);
    return layer ? vae_resnet(fmt::format("{}resnets.{}.", place, *layer), rest) : std::nullopt;
  }
  return up ? renamed(place, rest, {{"upsample.", "upsamplers.0."}})
            : renamed(place, rest, {{"downsample.", "downsamplers.0."}});
}

}  // namespace

const std::vector<SdxlComponent>& sdxl_components() {
  static const std::vector<SdxlComponent> components = {
      {"unet", "model.diffusion_model."},
      {"vae", "first_stage_model."},
      {"text_encoder", "conditioner.embedders.0.transformer."},
      {"text_encoder_2", "conditioner.embedders.1.model."}};
  return components;
}

Name diffusers_unet_name(std::string_view rest) {
  if (take(rest, "input_blocks.")) return unet_input_block(rest);
  if (take(rest, "middle_block.")) return unet_middle_block(rest);
  if (take(rest, "output_blocks.")) return unet_output_block(rest);
  return renamed("", rest,
                 {{"time_embed.0.", "time_embedding.linear_1."},
                  {"time_embed.2.", "time_embedding.linear_2."},
                  {"label_emb.0.0.", "add_embedding.linear_1."},
                  {"label_emb.0.2.", "add_embedding.linear_2."},
                  {"out.0.", "conv_norm_out."},
                  {"out.2.", "conv_out."}});
}

Name diffusers_vae_name(std::string_view rest) {
  std::string half;
  if (take(rest, "encoder.")) {
    half = "encoder.";
  } else if (take(rest, "decoder.")) {
    half = "decoder.";
  } else {
    return renamed("", rest,
                   {{"quant_conv.", "quant_conv."}, {"post_quant_conv.", "post_quant_conv."}});
  }
  if (take(rest, "mid.")) return vae_middle(half, rest);
  if (half == "encoder." && take(rest, "down.")) return vae_block(half, false, rest);
  if (half == "decoder." && take(rest, "up.")) return vae_block(half, true, rest);
  return renamed(
      half, rest,
      {{"conv_in.", "conv_in."}, {"conv_out.", "conv_out."}, {"norm_out.", "conv_norm_out."}});
}

Name diffusers_open_clip_name(std::string_view rest) {
  if (take(rest, "transformer.resblocks.")) {
    const auto layer = take_index(rest);
    if (!layer) return std::nullopt;
    return renamed(fmt::format("text_model.encoder.layers.{}.", *layer), rest,
                   {{"ln_1.", "layer_norm1."},
                    {"ln_2.", "layer_norm2."},
                    {"mlp.c_fc.", "mlp.fc1."},
                    {"mlp.c_proj.", "mlp.fc2."},
                    {"attn.out_proj.", "self_attn.out_proj."}});
  }
  if (rest == "positional_embedding") return "text_model.embeddings.position_embedding.weight";
  if (rest == "text_projection") return "text_projection.weight";
  return renamed(
      "text_model.", rest,
      {{"token_embedding.", "embeddings.token_embedding."}, {"ln_final.", "final_layer_norm."}});
}

std::string current_attention_name(std::string_view name) {
  const size_t attention = name.rfind(".attentions.");
  if (attention == std::string_view::npos) return std::string(name);
  std::string_view rest = name.substr(attention + 12);
  if (!take_index(rest)) return std::string(name);
  return renamed(name.substr(0, name.size() - rest.size()), rest,
                 {{"query.", "to_q."},
                  {"key.", "to_k."},
                  {"value.", "to_v."},
                  {"proj_attn.", "to_out.0."}})
      .value_or(std::string(name));
}

}  // namespace backlot
