#include <algorithm>

#include "models/config_reader.h"
#include "models/unet_2d_condition.h"

namespace backlot {
namespace {

// Settings of diffusers' class that SDXL's family leaves at one value.
void insist_on_sdxl(ConfigReader& reader, const Json& json) {
  reader.only("act_fn", {"silu", "swish"});
  reader.only("addition_embed_type", {"text_time"});
  if (!json.contains("addition_embed_type")) {
    reader.refuse("addition_embed_type", "where SDXL has text_time");
  }
  reader.only("attention_type", {"default"});
  reader.only("center_input_sample", {false});
  reader.only("class_embeddings_concat", {false});
  reader.only("conv_in_kernel", {3});
  reader.only("conv_out_kernel", {3});
  reader.only("downsample_padding", {1});
  reader.only("dual_cross_attention", {false});
  reader.only("mid_block_scale_factor", {1});
  reader.only("mid_block_type", {"UNetMidBlock2DCrossAttn"});
  // For these null is a setting of its own, other than the default.
  for (const auto* key : {"addition_embed_type", "mid_block_type"}) {
    if (json.contains(key) && json.at(key).is_null()) reader.refuse(key, "where SDXL has one");
  }
  reader.only("mid_block_only_cross_attention", {false});
  reader.only("resnet_out_scale_factor", {1.0});
  reader.only("resnet_skip_time_act", {false});
  reader.only("resnet_time_scale_shift", {"default"});
  reader.only("time_embedding_type", {"positional"});
  reader.only("upcast_attention", {false});
  for (const auto* key :
       {"class_embed_type", "cross_attention_norm", "encoder_hid_dim", "encoder_hid_dim_type",
        "num_class_embeds", "reverse_transformer_layers_per_block", "time_cond_proj_dim",
        "time_embedding_act_fn", "time_embedding_dim", "timestep_post_act"}) {
    reader.only(key, {});
  }
  // Read by other kinds of UNet, by training, or only as a default size.
  reader.ignore({"addition_embed_type_num_heads", "dropout", "sample_size"});
}

void read_only_cross_attention(ConfigReader& reader, size_t levels) {
  reader.only("only_cross_attention", {false, Json(std::vector<bool>(levels, false))});
}

bool cross_attends(ConfigReader& reader, const std::string& key, const std::string& type,
                   const std::string& plain, const std::string& crossing) {
  if (type != plain && type != crossing) {
    reader.refuse(key, "where backlot knows " + plain + " and " + crossing);
  }
  return type == crossing;
}

}  // namespace

UNet2DConditionConfig read_unet_2d_condition_config(const Json& json, const std::string& where) {
  ConfigReader reader(json, where);
  insist_on_sdxl(reader, json);
  UNet2DConditionConfig config;
  config.in_channels = reader.integer("in_channels", 4);
  config.out_channels = reader.integer("out_channels", 4);
  config.norm_num_groups = reader.integer("norm_num_groups", 32);
  config.norm_eps = reader.number("norm_eps", 1e-5);
  config.use_linear_projection = reader.flag("use_linear_projection", false);
  config.flip_sin_to_cos = reader.flag("flip_sin_to_cos", true);
  config.freq_shift = reader.number("freq_shift", 0);
  config.addition_time_embed_dim = reader.integer("addition_time_embed_dim", 256);
  config.projection_class_embeddings_input_dim =
      reader.integer("projection_class_embeddings_input_dim", 2816);

  const auto channels = reader.integers("block_out_channels");
  const size_t count = channels.size();
  const auto down = reader.texts("down_block_types"), up = reader.texts("up_block_types");
  if (down.size() != count)
    reader.refuse("down_block_types", "of another length than the channels");
  if (up.size() != count) reader.refuse("up_block_types", "of another length than the channels");
  const auto resnets = reader.integers("layers_per_block", count, 2);
  const auto transformers = reader.integers("transformer_layers_per_block", count, 1);
  const auto text_width = reader.integers("cross_attention_dim", count, 1280);
  // Named wrongly long ago: where num_attention_heads is absent, this is the number of heads.
  auto heads = reader.integers("attention_head_dim", count, 8);
  if (reader.given("num_attention_heads")) heads = reader.integers("num_attention_heads", count, 8);
  reader.only("num_attention_heads", {Json(), Json(heads), Json(heads.front())});
  read_only_cross_attention(reader, count);

  for (size_t i = 0; i < count; ++i) {
    const bool down_attends =
        cross_attends(reader, "down_block_types", down[i], "DownBlock2D", "CrossAttnDownBlock2D");
    const bool up_attends = cross_attends(reader, "up_block_types", up[count - 1 - i], "UpBlock2D",
                                          "CrossAttnUpBlock2D");
    if (channels[i] % config.norm_num_groups != 0 || channels[i] % heads[i] != 0) {
      reader.refuse("block_out_channels", "not divisible by the norm groups and the heads");
    }
    config.levels.push_back({.channels = channels[i],
                             .resnets = resnets[i],
                             .down_transformers = down_attends ? transformers[i] : 0,
                             .up_transformers = up_attends ? transformers[i] : 0,
                             .heads = heads[i],
                             .text_width = text_width[i]});
  }
  config.mid_transformers = transformers.back();
  reader.finish();
  return config;
}

}  // namespace backlot
