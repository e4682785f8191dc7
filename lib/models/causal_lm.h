// Decoder-only language models of the Qwen2 and Llama architectures.
//
// Reference: Qwen2ForCausalLM, LlamaForCausalLM of transformers 5.23 (modeling_qwen2.py,
// modeling_llama.py).
#pragma once

#include <vector>

#include "nn/layers.h"
#include "nn/rotary.h"
#include "weights/decoder_config.h"

namespace backlot {

// Root mean square norm (Zhang, Sennrich, arXiv 1910.07467): taken in float32, whatever x is in.
struct RmsNorm {
  RmsNorm(const Weights& w, int64_t width, double eps);

  // x: [..., width]
  Tensor operator()(const Tensor& x) const;

  Tensor weight;
  double eps;
};

// Keys and values of every layer, in blocks of tokens.
struct PagedCache {
  PagedCache(const DecoderConfig& config, int64_t blocks, int64_t block_tokens,
             const at::TensorOptions& options);

  std::vector<Tensor> keys, values;  // a layer: [blocks * block_tokens, kv_heads, head_dim]
  int64_t block_tokens;
};

// Where the tokens of one forward pass stand, and what each of them looks at. Slots are places in a
// PagedCache: block * block_tokens + place within the block.
struct TokenPlaces {
  // Tokens of one sequence that were not computed before.
  struct Run {
    int64_t begin, count;  // in the pass
    int64_t position;      // of the first
    Tensor slots;          // [position + count] int64: the sequence from its start
  };

  Tensor positions;  // [tokens] int64
  Tensor slots;      // [tokens] int64: where their keys and values go
  std::vector<Run> runs;

  // The runs of one token each, `singles` of them, come first and are attended together.
  int64_t singles = 0;
  Tensor single_slots;  // [singles, longest] int64, padded with slots of the same run
  Tensor single_mask;   // [singles, 1, 1, longest] bool: false at the padding
};

class DecoderLayer {
 public:
  DecoderLayer(const Weights& w, const DecoderConfig& config);

  // x: [tokens, hidden]; cos, sin: [tokens, head_dim / 2]; cache of this layer -> [tokens, hidden]
  Tensor operator()(const Tensor& x, const RotaryTable& rotary, const TokenPlaces& places,
                    const Tensor& keys, const Tensor& values) const;

 private:
  Tensor attend(const Tensor& q, const TokenPlaces& places, const Tensor& keys,
                const Tensor& values) const;

  int64_t heads_, kv_heads_, head_dim_, intermediate_;
  RmsNorm input_layernorm_;
  Linear qkv_proj_, o_proj_;
  RmsNorm post_attention_layernorm_;
  Linear gate_up_proj_, down_proj_;
};

class CausalLM {
 public:
  // `positions`: the longest sequence that will be computed.
  CausalLM(const Weights& w, const DecoderConfig& config, int64_t positions);

  // ids: [tokens] int64 -> the last layer's output after the final norm, [tokens, hidden]. Keys and
  // values of the tokens are put into the cache.
  Tensor operator()(const Tensor& ids, const TokenPlaces& places, const PagedCache& cache) const;

  // hidden: [rows, hidden] -> logits [rows, vocab] float32
  Tensor logits(const Tensor& hidden) const;

  const DecoderConfig& config() const { return config_; }
  at::TensorOptions options() const { return embed_tokens_.options(); }

 private:
  DecoderConfig config_;
  RotaryTable rotary_;   // of the model's dtype, on its device
  Tensor embed_tokens_;  // [vocab, hidden]
  std::vector<DecoderLayer> layers_;
  RmsNorm norm_;
  Linear lm_head_;
};

}  // namespace backlot
