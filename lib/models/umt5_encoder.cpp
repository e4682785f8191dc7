#include "models/umt5_encoder.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "models/config_reader.h"

namespace backlot {
namespace {

// Reference: UMT5LayerNorm. Taken in float32; a wider x than the weight (see wo) is narrowed to it.
Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  const auto wide = x.to(at::kFloat);
  const auto scale = at::rsqrt(wide.square().mean(-1, true).add_(eps));
  return (wide * scale).to(weight.scalar_type()).mul_(weight);
}

// [L, L] int64: for each query (row) the bucket of each key's distance. Half of the buckets are for
// keys behind the query; of each half the first half are single distances, the rest logarithmic.
// In float32 as the reference, whose roundings decide where a bucket ends.
Tensor position_buckets(const UMT5Config& config, int64_t length) {
  const int64_t buckets = config.relative_attention_num_buckets / 2, exact = buckets / 2;
  const auto positions = at::arange(length, at::kLong);
  const auto relative = positions.unsqueeze(0) - positions.unsqueeze(1);
  const auto distance = relative.abs();
  const double range = std::log(static_cast<double>(config.relative_attention_max_distance) /
                                static_cast<double>(exact));
  const auto share = (distance.to(at::kFloat) / exact).log().div(range) * (buckets - exact);
  // log(0) of a query's own place is not taken below.
  const auto logarithmic = (share.clamp_min(0).to(at::kLong) + exact).clamp_max(buckets - 1);
  return at::where(distance < exact, distance, logarithmic) + (relative > 0) * buckets;
}

// transformers keeps this layer in float32 where the rest is float16, which overflows in it.
Weights output_weights(const Weights& w, at::ScalarType dtype) {
  return dtype == at::kHalf ? w.in_dtype(at::kFloat) : w;
}

const char* embedding_name(const Weights& w) {
  return w.has("encoder.embed_tokens.weight") && !w.has("shared.weight")
             ? "encoder.embed_tokens.weight"
             : "shared.weight";
}

}  // namespace

UMT5Config read_umt5_config(const Json& json, const std::string& where) {
  ConfigReader reader(json, where, "Wan 2.1");
  UMT5Config config;
  reader.only("model_type", {"umt5"});
  reader.only("feed_forward_proj", {"gated-gelu"});
  reader.only("dense_act_fn", {"gelu_new"});
  reader.only("is_gated_act", {true});
  config.vocab_size = reader.integer("vocab_size", config.vocab_size);
  config.d_model = reader.integer("d_model", config.d_model);
  config.d_kv = reader.integer("d_kv", config.d_kv);
  config.d_ff = reader.integer("d_ff", config.d_ff);
  config.num_layers = reader.integer("num_layers", config.num_layers);
  config.num_heads = reader.integer("num_heads", config.num_heads);
  config.relative_attention_num_buckets =
      reader.integer("relative_attention_num_buckets", config.relative_attention_num_buckets);
  config.relative_attention_max_distance =
      reader.integer("relative_attention_max_distance", config.relative_attention_max_distance);
  config.layer_norm_epsilon = reader.number("layer_norm_epsilon", config.layer_norm_epsilon);
  if (config.relative_attention_num_buckets < 4 || config.relative_attention_num_buckets % 4 != 0) {
    reader.refuse("relative_attention_num_buckets", "which should be a multiple of 4");
  }
  if (config.relative_attention_max_distance <= config.relative_attention_num_buckets / 4) {
    reader.refuse("relative_attention_max_distance", "which is too small for the buckets");
  }
  // The remaining keys of a transformers config speak of training, generation and bookkeeping.
  return config;
}

UMT5Encoder::Layer::Layer(const Weights& w, const UMT5Config& config)
    : heads(config.num_heads),
      eps(config.layer_norm_epsilon),
      attention_norm((w / "layer" / 0 / "layer_norm")("weight", {config.d_model})),
      qkv(side_by_side({{w / "layer" / 0 / "SelfAttention" / "q", config.d_model,
                         config.num_heads * config.d_kv, Bias::none},
                        {w / "layer" / 0 / "SelfAttention" / "k", config.d_model,
                         config.num_heads * config.d_kv, Bias::none},
                        {w / "layer" / 0 / "SelfAttention" / "v", config.d_model,
                         config.num_heads * config.d_kv, Bias::none}})),
      relative_attention_bias((w / "layer" / 0 / "SelfAttention" / "relative_attention_bias")(
          "weight", {config.relative_attention_num_buckets, config.num_heads})),
      o(w / "layer" / 0 / "SelfAttention" / "o", config.num_heads * config.d_kv, config.d_model,
        Bias::none),
      ffn_norm((w / "layer" / 1 / "layer_norm")("weight", {config.d_model})),
      wi_0(w / "layer" / 1 / "DenseReluDense" / "wi_0", config.d_model, config.d_ff, Bias::none),
      wi_1(w / "layer" / 1 / "DenseReluDense" / "wi_1", config.d_model, config.d_ff, Bias::none),
      wo(output_weights(w / "layer" / 1 / "DenseReluDense" / "wo", ffn_norm.scalar_type()),
         config.d_ff, config.d_model, Bias::none) {}

Tensor UMT5Encoder::Layer::operator()(const Tensor& x, const Tensor& buckets,
                                      const Tensor& padding) const {
  const auto split = [&](const Tensor& y) {
    return y.unflatten(2, at::IntArrayRef({heads, y.size(2) / heads})).transpose(1, 2);
  };
  const auto bias =
      at::embedding(relative_attention_bias, buckets).permute({2, 0, 1});  // [H, L, L]
  const auto parts = qkv(rms_norm(x, attention_norm, eps)).chunk(3, 2);
  // Scores are not scaled: training has put 1 / sqrt(d_kv) into the weights.
  const auto attended =
      at::scaled_dot_product_attention(split(parts[0]), split(parts[1]), split(parts[2]),
                                       (bias.unsqueeze(0) + padding).contiguous(), 0.0, false, 1.0)
          .transpose(1, 2)
          .flatten(2);
  const auto y = x + o(attended);
  const auto normed = rms_norm(y, ffn_norm, eps);
  const auto hidden = at::gelu(wi_0(normed), "tanh").mul_(wi_1(normed));
  return y + (hidden.scalar_type() == at::kHalf ? wo(hidden.to(at::kFloat)) : wo(hidden));
}

UMT5Encoder::UMT5Encoder(const Weights& w, const UMT5Config& config)
    : config_(config),
      shared_(w(embedding_name(w), {config.vocab_size, config.d_model})),
      final_layer_norm_((w / "encoder" / "final_layer_norm")("weight", {config.d_model})) {
  w.skip("encoder.embed_tokens.weight");  // the same table once more, in some folders
  layers_.reserve(config.num_layers);
  for (int64_t i = 0; i < config.num_layers; ++i) {
    layers_.emplace_back(w / "encoder" / "block" / i, config);
  }
}

Tensor UMT5Encoder::encode(const Tensor& ids, const Tensor& mask) const {
  TORCH_CHECK(ids.dim() == 2 && ids.sizes() == mask.sizes(), "ids and mask are [B, L]");
  const auto lengths = mask.gt(0).sum(1);
  const int64_t longest = std::max<int64_t>(lengths.max().item<int64_t>(), 1);
  const auto device = shared_.device();
  const auto kept = mask.narrow(1, 0, longest).gt(0).to(device);
  const auto buckets = position_buckets(config_, longest).to(device);
  const auto padding =
      at::zeros(kept.sizes(), shared_.options())
          .masked_fill_(kept.logical_not(), -std::numeric_limits<float>::infinity())
          .unsqueeze(1)
          .unsqueeze(1);
  auto x = at::embedding(shared_, ids.narrow(1, 0, longest).to(device));
  for (const auto& layer : layers_) x = layer(x, buckets, padding);
  x = rms_norm(x, final_layer_norm_, config_.layer_norm_epsilon) *
      kept.unsqueeze(2).to(shared_.scalar_type());
  return at::constant_pad_nd(x, {0, 0, 0, ids.size(1) - longest});
}

}  // namespace backlot
