// The denoiser of Wan 2.1 and 2.2, text to video.
//
// Reference: diffusers/models/transformers/transformer_wan.py (WanTransformer3DModel), whose tensor
// names this file follows. Shape letters: B batch, C latent channels, F, h, w latent frames, height
// and width, L video tokens, T text tokens, D model width.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "nn/attention.h"

namespace backlot {

struct WanTransformer3DConfig {
  std::array<int64_t, 3> patch_size{1, 2, 2};  // frames, rows, columns
  int64_t num_attention_heads = 40, attention_head_dim = 128;
  int64_t in_channels = 16, out_channels = 16;
  int64_t text_dim = 4096, freq_dim = 256;
  int64_t ffn_dim = 13824;
  int64_t num_layers = 40;
  bool cross_attn_norm = true;
  double eps = 1e-6;
  int64_t rope_max_seq_len = 1024;  // of each of the three axes, in patches

  int64_t width() const { return num_attention_heads * attention_head_dim; }  // D
  int64_t patch_values() const { return patch_size[0] * patch_size[1] * patch_size[2]; }
};

// Throws LoadError naming `where` and the key; also for models that take a picture.
WanTransformer3DConfig read_wan_transformer_3d_config(const Json& config, const std::string& where);

// What a run's texts amount to inside the network: the same at every step, so made once.
struct WanConditioning {
  std::vector<KeyValue> text;  // a pair of [B, T, D] for each block's cross-attention
};

// Between steps the first block's change of the tokens tells how much the others' would differ:
// while it stays near that of the last whole evaluation, theirs is reused. One for each clip and
// text. Reference: FirstBlockCache of diffusers 0.42.1; compared are means of absolute values, in
// float32.
struct WanStepCache {
  double threshold = 0;   // of the change's difference to the last one's, relative to that
  bool must_run = false;  // the next evaluation reuses nothing
  bool reused = false;    // the last evaluation did
  Tensor first, rest;     // changes of the last whole evaluation: [B, L, D] in the network's dtype
};

class WanTransformer3DModel {
 public:
  WanTransformer3DModel(const Weights& w, const WanTransformer3DConfig& config);

  // prompt_embeds: [B, T, text_dim], as UMT5Encoder::encode() gives them: the zeros behind a text
  // are attended to, as the reference does.
  WanConditioning condition(const Tensor& prompt_embeds) const;

  // latents: [B, in_channels, F, h, w], timestep: [B] of any dtype (0 to 1000) -> [B, out_channels,
  // F, h, w] in the network's dtype. F, h and w are multiples of patch_size. For guidance, put both
  // halves into one batch or call twice; the values differ by rounding.
  // Throws ItemError if a side has more patches than rope_max_seq_len.
  Tensor operator()(const Tensor& latents, const Tensor& timestep,
                    const WanConditioning& conditioning, WanStepCache* cache = nullptr) const;

  at::ScalarType dtype() const;
  const WanTransformer3DConfig& config() const { return config_; }

 private:
  struct Layers;

  WanTransformer3DConfig config_;
  std::shared_ptr<const Layers> layers_;
};

}  // namespace backlot
