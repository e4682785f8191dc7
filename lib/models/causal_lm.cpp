#include "models/causal_lm.h"

#include <ATen/ATen.h>

namespace backlot {
namespace {

Bias bias_if(bool there) { return there ? Bias::learned : Bias::none; }

LinearParameters head_parameters(const Weights& w, const DecoderConfig& config,
                                 const Tensor& embed_tokens) {
  if (config.tie_word_embeddings) return {embed_tokens, std::nullopt, w.quantization()};
  return {w / "lm_head", config.hidden_size, config.vocab_size, Bias::none};
}

// q: [B, H, L, K], k and v: [B, kv heads, T, K]
Tensor grouped_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                         const std::optional<Tensor>& mask, bool causal) {
  return at::scaled_dot_product_attention(q, k, v, mask, 0.0, causal, std::nullopt,
                                          q.size(1) != k.size(1));
}

}  // namespace

RmsNorm::RmsNorm(const Weights& w, int64_t width, double eps)
    : weight(w("weight", {width})), eps(eps) {}

Tensor RmsNorm::operator()(const Tensor& x) const {
  const auto wide = x.to(at::kFloat);
  const auto scale = at::rsqrt(wide.square().mean(-1, true) + eps);
  return weight * (wide * scale).to(x.scalar_type());
}

PagedCache::PagedCache(const DecoderConfig& config, int64_t blocks, int64_t block_tokens,
                       const at::TensorOptions& options)
    : block_tokens(block_tokens) {
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    for (auto* part : {&keys, &values})
      part->push_back(
          at::zeros({blocks * block_tokens, config.num_key_value_heads, config.head_dim}, options));
  }
}

DecoderLayer::DecoderLayer(const Weights& w, const DecoderConfig& config)
    : heads_(config.num_attention_heads),
      kv_heads_(config.num_key_value_heads),
      head_dim_(config.head_dim),
      intermediate_(config.intermediate_size),
      input_layernorm_(w / "input_layernorm", config.hidden_size, config.rms_norm_eps),
      qkv_proj_(side_by_side({{w / "self_attn" / "q_proj", config.hidden_size, heads_ * head_dim_,
                               bias_if(config.qkv_bias)},
                              {w / "self_attn" / "k_proj", config.hidden_size,
                               kv_heads_ * head_dim_, bias_if(config.qkv_bias)},
                              {w / "self_attn" / "v_proj", config.hidden_size,
                               kv_heads_ * head_dim_, bias_if(config.qkv_bias)}})),
      o_proj_(w / "self_attn" / "o_proj", heads_ * head_dim_, config.hidden_size,
              bias_if(config.o_bias)),
      post_attention_layernorm_(w / "post_attention_layernorm", config.hidden_size,
                                config.rms_norm_eps),
      gate_up_proj_(side_by_side(
          {{w / "mlp" / "gate_proj", config.hidden_size, intermediate_, bias_if(config.mlp_bias)},
           {w / "mlp" / "up_proj", config.hidden_size, intermediate_, bias_if(config.mlp_bias)}})),
      down_proj_(w / "mlp" / "down_proj", intermediate_, config.hidden_size,
                 bias_if(config.mlp_bias)) {}

Tensor DecoderLayer::operator()(const Tensor& x, const RotaryTable& rotary,
                                const TokenPlaces& places, const Tensor& keys,
                                const Tensor& values) const {
  const auto qkv = qkv_proj_(input_layernorm_(x))
                       .view({x.size(0), heads_ + 2 * kv_heads_, head_dim_})
                       .split_with_sizes({heads_, kv_heads_, kv_heads_}, 1);
  keys.index_copy_(0, places.slots, rotate(qkv[1], rotary.cos, rotary.sin));
  values.index_copy_(0, places.slots, qkv[2]);
  const auto attended = attend(rotate(qkv[0], rotary.cos, rotary.sin), places, keys, values);
  const auto y = o_proj_.plus(attended, x);
  const auto gate_up = gate_up_proj_(post_attention_layernorm_(y)).chunk(2, -1);
  return down_proj_.plus(at::silu(gate_up[0]) * gate_up[1], y);
}

Tensor DecoderLayer::attend(const Tensor& q, const TokenPlaces& places, const Tensor& keys,
                            const Tensor& values) const {
  auto out = at::empty_like(q);  // [tokens, heads, head_dim]
  if (places.singles > 0) {
    const auto gather = [&](const Tensor& from) {
      return from.index_select(0, places.single_slots.flatten())
          .view({places.singles, -1, kv_heads_, head_dim_})
          .transpose(1, 2);
    };
    const auto y = grouped_attention(q.narrow(0, 0, places.singles).unsqueeze(2), gather(keys),
                                     gather(values), places.single_mask, false);
    out.narrow(0, 0, places.singles).copy_(y.squeeze(2));
  }
  for (const auto& run : places.runs) {
    const auto gather = [&](const Tensor& from) {
      return from.index_select(0, run.slots).transpose(0, 1).unsqueeze(0);
    };
    std::optional<Tensor> mask;
    if (run.position > 0 && run.count > 1) {
      mask =
          at::ones({run.count, run.slots.size(0)}, q.options().dtype(at::kBool)).tril(run.position);
    }
    const auto y =
        grouped_attention(q.narrow(0, run.begin, run.count).transpose(0, 1).unsqueeze(0),
                          gather(keys), gather(values), mask, run.position == 0 && run.count > 1);
    out.narrow(0, run.begin, run.count).copy_(y.squeeze(0).transpose(0, 1));
  }
  return out.flatten(1);
}

CausalLM::CausalLM(const Weights& w, const DecoderConfig& config, int64_t positions)
    : config_(config),
      embed_tokens_(
          (w / "model" / "embed_tokens")("weight", {config.vocab_size, config.hidden_size})),
      norm_(w / "model" / "norm", config.hidden_size, config.rms_norm_eps),
      lm_head_(head_parameters(w.in_full(), config, embed_tokens_)) {
  rotary_ = make_rotary_table(config, positions).to(embed_tokens_.options());
  layers_.reserve(config.num_hidden_layers);
  for (int64_t i = 0; i < config.num_hidden_layers; ++i)
    layers_.emplace_back(w / "model" / "layers" / i, config);
}

Tensor CausalLM::operator()(const Tensor& ids, const TokenPlaces& places,
                            const PagedCache& cache) const {
  auto x = at::embedding(embed_tokens_, ids);
  const RotaryTable rotary{rotary_.cos.index_select(0, places.positions),
                           rotary_.sin.index_select(0, places.positions)};
  for (size_t i = 0; i < layers_.size(); ++i)
    x = layers_[i](x, rotary, places, cache.keys[i], cache.values[i]);
  return norm_(x);
}

Tensor CausalLM::logits(const Tensor& hidden) const { return lm_head_(hidden).to(at::kFloat); }

}  // namespace backlot
