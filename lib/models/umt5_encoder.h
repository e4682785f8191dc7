// UMT5's text encoder (Chung et al., UniMax, arXiv 2304.09151): T5 1.1 with a table of relative
// position biases in every layer.
//
// Reference: transformers/models/umt5/modeling_umt5.py (UMT5EncoderModel), whose tensor names this
// file follows, and the treatment of its output in diffusers' WanPipeline. Shape letters: B batch,
// L tokens, D model width, H heads.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "nn/layers.h"

namespace backlot {

struct UMT5Config {
  int64_t vocab_size = 250112;
  int64_t d_model = 512, d_kv = 64, d_ff = 1024;
  int64_t num_layers = 8, num_heads = 6;
  int64_t relative_attention_num_buckets = 32, relative_attention_max_distance = 128;
  double layer_norm_epsilon = 1e-6;
};

// Throws LoadError naming `where` and the key.
UMT5Config read_umt5_config(const Json& config, const std::string& where);

class UMT5Encoder {
 public:
  UMT5Encoder(const Weights& w, const UMT5Config& config);

  // ids, mask: [B, L] int64; mask is 1 for a text's tokens and 0 for the padding behind them
  // -> [B, L, D] in the network's dtype, zeros where mask is 0.
  // Padding is never computed: time goes with the longest text, not with L.
  Tensor encode(const Tensor& ids, const Tensor& mask) const;

  at::ScalarType dtype() const { return shared_.scalar_type(); }
  const UMT5Config& config() const { return config_; }

 private:
  struct Layer {
    Layer(const Weights& w, const UMT5Config& config);

    // x: [B, L, D], buckets: [L, L] int64, padding: [B, 1, 1, L] of 0 and -inf -> [B, L, D]
    Tensor operator()(const Tensor& x, const Tensor& buckets, const Tensor& padding) const;

    int64_t heads;
    double eps;
    Tensor attention_norm;           // [D]
    Linear qkv;                      // side by side
    Tensor relative_attention_bias;  // [buckets, H]
    Linear o;
    Tensor ffn_norm;  // [D]
    Linear wi_0, wi_1, wo;
  };

  UMT5Config config_;
  Tensor shared_;  // [vocab_size, D]
  std::vector<Layer> layers_;
  Tensor final_layer_norm_;  // [D]
};

}  // namespace backlot
