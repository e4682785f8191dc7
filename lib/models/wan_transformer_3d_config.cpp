#include "base/error.h"
#include "models/config_reader.h"
#include "models/wan_transformer_3d.h"

namespace backlot {
namespace {

// Keys that only models which start from a picture have.
void insist_on_text_alone(const Json& json, const std::string& where) {
  for (const auto* key : {"image_dim", "added_kv_proj_dim", "pos_embed_seq_len"}) {
    const auto found = json.find(key);
    if (found == json.end() || found->is_null()) continue;
    throw LoadError(where, std::string(key) + " is " + found->dump() + ": an image-to-video model",
                    "use a text-to-video model (Wan2.1-T2V); backlot does not make video from "
                    "pictures with this one");
  }
}

}  // namespace

WanTransformer3DConfig read_wan_transformer_3d_config(const Json& json, const std::string& where) {
  ConfigReader reader(json, where, "Wan 2.1");
  insist_on_text_alone(json, where);
  WanTransformer3DConfig config;
  reader.only("_class_name", {"WanTransformer3DModel"});
  reader.only("qk_norm", {"rms_norm_across_heads"});
  if (reader.given("patch_size")) {
    const auto sides = reader.integers("patch_size");
    if (sides.size() != config.patch_size.size()) {
      reader.refuse("patch_size", "which should be frames, rows and columns");
    }
    std::copy(sides.begin(), sides.end(), config.patch_size.begin());
  }
  config.num_attention_heads = reader.integer("num_attention_heads", config.num_attention_heads);
  config.attention_head_dim = reader.integer("attention_head_dim", config.attention_head_dim);
  config.in_channels = reader.integer("in_channels", config.in_channels);
  config.out_channels = reader.integer("out_channels", config.in_channels);
  config.text_dim = reader.integer("text_dim", config.text_dim);
  config.freq_dim = reader.integer("freq_dim", config.freq_dim);
  config.ffn_dim = reader.integer("ffn_dim", config.ffn_dim);
  config.num_layers = reader.integer("num_layers", config.num_layers);
  config.cross_attn_norm = reader.flag("cross_attn_norm", config.cross_attn_norm);
  config.eps = reader.number("eps", config.eps);
  config.rope_max_seq_len = reader.integer("rope_max_seq_len", config.rope_max_seq_len);
  reader.ignore({"patch_size", "image_dim", "added_kv_proj_dim", "pos_embed_seq_len"});
  if (config.in_channels != config.out_channels) {
    throw LoadError(where,
                    "in_channels and out_channels differ: a model that takes a picture or a mask "
                    "beside the latents",
                    "use a text-to-video model (Wan2.1-T2V)");
  }
  if (config.attention_head_dim % 2 != 0) {
    reader.refuse("attention_head_dim", "which should be even: values are rotated in pairs");
  }
  if (config.freq_dim % 2 != 0) reader.refuse("freq_dim", "which should be even");
  reader.finish();
  return config;
}

}  // namespace backlot
