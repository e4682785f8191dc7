#include "weights/decoder_tensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace backlot {
namespace {

struct Translation {
  std::string_view gguf, transformers;
};

constexpr std::array of_model = {Translation{"token_embd.weight", "model.embed_tokens.weight"},
                                 Translation{"output_norm.weight", "model.norm.weight"},
                                 Translation{"output.weight", "lm_head.weight"}};

// Before ".weight" and ".bias".
constexpr std::array of_layer = {Translation{"attn_norm", "input_layernorm"},
                                 Translation{"attn_q", "self_attn.q_proj"},
                                 Translation{"attn_k", "self_attn.k_proj"},
                                 Translation{"attn_v", "self_attn.v_proj"},
                                 Translation{"attn_output", "self_attn.o_proj"},
                                 Translation{"ffn_norm", "post_attention_layernorm"},
                                 Translation{"ffn_gate", "mlp.gate_proj"},
                                 Translation{"ffn_up", "mlp.up_proj"},
                                 Translation{"ffn_down", "mlp.down_proj"}};

bool is_layer_number(std::string_view text) {
  return !text.empty() && text.size() <= 4 && (text == "0" || text.front() != '0') &&
         std::ranges::all_of(text, [](char digit) { return digit >= '0' && digit <= '9'; });
}

}  // namespace

std::vector<NamedShape> decoder_tensors(const DecoderConfig& config) {
  const int64_t hidden = config.hidden_size, inner = config.intermediate_size;
  const int64_t queries = config.num_attention_heads * config.head_dim;
  const int64_t keys = config.num_key_value_heads * config.head_dim;
  std::vector<NamedShape> all;
  all.push_back({"model.embed_tokens.weight", {config.vocab_size, hidden}});
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    const auto add = [&](std::string_view name, std::vector<int64_t> shape) {
      all.push_back({fmt::format("model.layers.{}.{}", layer, name), std::move(shape)});
    };
    const auto linear = [&](const std::string& name, int64_t out, int64_t in, bool bias) {
      add(name + ".weight", {out, in});
      if (bias) add(name + ".bias", {out});
    };
    add("input_layernorm.weight", {hidden});
    linear("self_attn.q_proj", queries, hidden, config.qkv_bias);
    linear("self_attn.k_proj", keys, hidden, config.qkv_bias);
    linear("self_attn.v_proj", keys, hidden, config.qkv_bias);
    linear("self_attn.o_proj", hidden, queries, config.o_bias);
    add("post_attention_layernorm.weight", {hidden});
    linear("mlp.gate_proj", inner, hidden, config.mlp_bias);
    linear("mlp.up_proj", inner, hidden, config.mlp_bias);
    linear("mlp.down_proj", hidden, inner, config.mlp_bias);
  }
  all.push_back({"model.norm.weight", {hidden}});
  if (!config.tie_word_embeddings) all.push_back({"lm_head.weight", {config.vocab_size, hidden}});
  return all;
}

std::optional<std::string> transformers_name(std::string_view name) {
  for (const auto& each : of_model)
    if (name == each.gguf) return std::string(each.transformers);
  if (!name.starts_with("blk.")) return std::nullopt;
  name.remove_prefix(4);
  const size_t dot = name.find('.'), last = name.rfind('.');
  if (dot == std::string_view::npos || last == dot || !is_layer_number(name.substr(0, dot)))
    return std::nullopt;
  const std::string_view kind = name.substr(last);
  if (kind != ".weight" && kind != ".bias") return std::nullopt;
  for (const auto& each : of_layer)
    if (name.substr(dot + 1, last - dot - 1) == each.gguf)
      return fmt::format("model.layers.{}.{}{}", name.substr(0, dot), each.transformers, kind);
  return std::nullopt;
}

}  // namespace backlot
