#include "models/clip_text_model.h"

#include <ATen/ATen.h>

#include "models/config_reader.h"

namespace backlot {

CLIPTextConfig read_clip_text_config(const Json& json, const std::string& where, ClipHead head) {
  ConfigReader reader(json, where);
  CLIPTextConfig config;
  reader.only("model_type", {"clip_text_model"});
  config.vocab_size = reader.integer("vocab_size", config.vocab_size);
  config.hidden_size = reader.integer("hidden_size", config.hidden_size);
  config.intermediate_size = reader.integer("intermediate_size", config.intermediate_size);
  config.num_hidden_layers = reader.integer("num_hidden_layers", config.num_hidden_layers);
  config.num_attention_heads = reader.integer("num_attention_heads", config.num_attention_heads);
  config.max_position_embeddings =
      reader.integer("max_position_embeddings", config.max_position_embeddings);
  config.layer_norm_eps = reader.number("layer_norm_eps", config.layer_norm_eps);
  config.eos_token_id =
      static_cast<int64_t>(reader.number("eos_token_id", static_cast<double>(config.eos_token_id)));
  const auto projection = reader.integer("projection_dim", 512);
  if (head == ClipHead::projection) config.projection_dim = projection;
  const auto activation = reader.text("hidden_act", "quick_gelu");
  if (activation == "gelu") {
    config.hidden_act = ClipActivation::gelu;
  } else if (activation != "quick_gelu") {
    reader.refuse("hidden_act", "which should be quick_gelu or gelu");
  }
  if (config.hidden_size % config.num_attention_heads != 0) {
    reader.refuse("num_attention_heads", "which does not divide hidden_size");
  }
  // The remaining keys of a transformers config speak of training, generation and bookkeeping.
  return config;
}

CLIPEncoderLayer::CLIPEncoderLayer(const Weights& w, const CLIPTextConfig& config)
    : heads(config.num_attention_heads),
      activation(config.hidden_act),
      layer_norm1(w / "layer_norm1", config.hidden_size, config.layer_norm_eps),
      qkv_proj(
          side_by_side({{w / "self_attn" / "q_proj", config.hidden_size, config.hidden_size},
                        {w / "self_attn" / "k_proj", config.hidden_size, config.hidden_size},
                        {w / "self_attn" / "v_proj", config.hidden_size, config.hidden_size}})),
      out_proj(w / "self_attn" / "out_proj", config.hidden_size, config.hidden_size),
      layer_norm2(w / "layer_norm2", config.hidden_size, config.layer_norm_eps),
      fc1(w / "mlp" / "fc1", config.hidden_size, config.intermediate_size),
      fc2(w / "mlp" / "fc2", config.intermediate_size, config.hidden_size) {}

Tensor CLIPEncoderLayer::operator()(const Tensor& x) const {
  const auto qkv = qkv_proj(layer_norm1(x)).chunk(3, 2);
  const auto y = x + out_proj(attention(qkv[0], qkv[1], qkv[2], heads, Mask::causal));
  auto h = fc1(layer_norm2(y));
  h = activation == ClipActivation::gelu ? at::gelu(h) : h * at::sigmoid(1.702 * h);
  return y + fc2(h);
}

// Hub folders put everything under "text_model."; transformers 5 leaves it away where there is no
// projection.
CLIPTextModel::CLIPTextModel(const Weights& w, const CLIPTextConfig& config)
    : CLIPTextModel(w.has("text_model.embeddings.token_embedding.weight") ? w / "text_model" : w, w,
                    config) {}

CLIPTextModel::CLIPTextModel(const Weights& w, const Weights& root, const CLIPTextConfig& config)
    : config_(config),
      token_embedding_(
          w("embeddings.token_embedding.weight", {config.vocab_size, config.hidden_size})),
      position_embedding_(w("embeddings.position_embedding.weight",
                            {config.max_position_embeddings, config.hidden_size})),
      final_layer_norm_(w / "final_layer_norm", config.hidden_size, config.layer_norm_eps) {
  w.skip("embeddings.position_ids");
  layers_.reserve(config.num_hidden_layers);
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    layers_.emplace_back(w / "encoder" / "layers" / i, config);
  }
  if (config.projection_dim > 0) {
    text_projection_.emplace(root / "text_projection", config.hidden_size, config.projection_dim,
                             Bias::none);
  }
}

CLIPTextModel::Output CLIPTextModel::operator()(const Tensor& ids, int64_t skip) const {
  TORCH_CHECK(skip >= 0 && skip < layers(), "clip_skip out of range");
  auto x = at::embedding(token_embedding_, ids) + position_embedding_.narrow(0, 0, ids.size(1));
  Output output;
  const int64_t wanted = layers() - 1 - skip;
  const int64_t needed = text_projection_ ? layers() : wanted;
  if (wanted == 0) output.hidden = x;
  for (int64_t i = 0; i < needed; ++i) {
    x = layers_[i](x);
    if (i + 1 == wanted) output.hidden = x;
  }
  if (text_projection_) output.pooled = pool(x, ids);
  return output;
}

Tensor CLIPTextModel::pool(const Tensor& last, const Tensor& ids) const {
  // Configs from before the id was right say 2; the end token then is the largest id.
  const auto end = config_.eos_token_id == 2
                       ? ids.argmax(-1)
                       : ids.eq(config_.eos_token_id).to(at::kInt).argmax(-1);  // [B], the first
  const auto rows = at::arange(ids.size(0), ids.options());
  const auto at_end = last.index({rows, end});  // [B, C]
  return (*text_projection_)(final_layer_norm_(at_end));
}

}  // namespace backlot
