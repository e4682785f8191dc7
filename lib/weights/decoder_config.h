// The sizes of a decoder-only language model of the Qwen2 or Llama architecture, from config.json
// or from a GGUF's metadata. Names are transformers' (Qwen2Config, LlamaConfig). No LibTorch here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace backlot {

// How rotary frequencies are altered for contexts beyond those trained on (transformers,
// modeling_rope_utils.py).
struct RopeScaling {
  enum class Kind { none, linear, dynamic, yarn, llama3 };
  Kind kind = Kind::none;
  double factor = 1.0;
  int64_t original_max_position_embeddings = 0;          // 0: max_position_embeddings
  double low_freq_factor = 1.0, high_freq_factor = 4.0;  // llama3
  double beta_fast = 32.0, beta_slow = 1.0;              // yarn
  double attention_factor = 0.0;                         // yarn; 0: 0.1 ln(factor) + 1
  std::vector<float> frequency_factors;  // from GGUF's rope_freqs.weight: divides each frequency
};

struct DecoderConfig {
  std::string architecture;  // "Qwen2ForCausalLM" or "LlamaForCausalLM"
  int64_t vocab_size = 0;
  int64_t hidden_size = 0, intermediate_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0, num_key_value_heads = 0, head_dim = 0;
  int64_t max_position_embeddings = 0;  // the context: tokens of prompt and answer together
  double rms_norm_eps = 1e-6;
  double rope_theta = 10000.0;
  RopeScaling rope_scaling;
  bool tie_word_embeddings = false;  // the output head is embed_tokens
  bool qkv_bias = false;             // Qwen2: on q_proj, k_proj and v_proj
  bool o_bias = false;               // Llama with attention_bias: on o_proj as well
  bool mlp_bias = false;
};

}  // namespace backlot
