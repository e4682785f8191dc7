// CLIP's text encoder, with and without the projection into the space shared with pictures.
//
// Reference: transformers/models/clip/modeling_clip.py (CLIPTextModel,
// CLIPTextModelWithProjection), whose tensor names this file follows. Shape letters: B batch, T
// tokens, C width, P projection.
#pragma once

#include <optional>
#include <vector>

#include "base/json.h"
#include "nn/attention.h"
#include "nn/norm.h"

namespace backlot {

enum class ClipActivation { quick_gelu, gelu };

struct CLIPTextConfig {
  int64_t vocab_size = 49408, hidden_size = 512, intermediate_size = 2048;
  int64_t num_hidden_layers = 12, num_attention_heads = 8;
  int64_t max_position_embeddings = 77;
  int64_t projection_dim = 0;  // 0: no text_projection
  int64_t eos_token_id = 49407;
  double layer_norm_eps = 1e-5;
  ClipActivation hidden_act = ClipActivation::quick_gelu;
};

enum class ClipHead { none, projection };

// Throws LoadError naming `where` and the key.
CLIPTextConfig read_clip_text_config(const Json& config, const std::string& where, ClipHead head);

struct CLIPEncoderLayer {
  CLIPEncoderLayer(const Weights& w, const CLIPTextConfig& config);

  // x: [B, T, C] -> [B, T, C]
  Tensor operator()(const Tensor& x) const;

  int64_t heads;
  ClipActivation activation;
  LayerNorm layer_norm1;
  Linear qkv_proj;
  Linear out_proj;
  LayerNorm layer_norm2;
  Linear fc1, fc2;
};

class CLIPTextModel {
 public:
  CLIPTextModel(const Weights& w, const CLIPTextConfig& config);

  struct Output {
    Tensor hidden;  // [B, T, C]: hidden_states[-(skip + 2)], no final_layer_norm
    Tensor pooled;  // [B, P]; undefined without a projection
  };

  // ids: [B, T] int64, T at most max_position_embeddings. `skip` from 0 to layers() - 1.
  Output operator()(const Tensor& ids, int64_t skip = 0) const;

  int64_t layers() const { return static_cast<int64_t>(layers_.size()); }
  const CLIPTextConfig& config() const { return config_; }

 private:
  CLIPTextModel(const Weights& text_model, const Weights& root, const CLIPTextConfig& config);

  Tensor pool(const Tensor& last, const Tensor& ids) const;

  CLIPTextConfig config_;
  Tensor token_embedding_, position_embedding_;
  std::vector<CLIPEncoderLayer> layers_;
  LayerNorm final_layer_norm_;
  std::optional<Linear> text_projection_;
};

}  // namespace backlot
