#include "models/transformer_2d.h"

#include <ATen/ATen.h>

namespace backlot {
namespace {

constexpr double layer_norm_eps = 1e-5;
constexpr double group_norm_eps = 1e-6;

LinearParameters projection(const Weights& w, const Transformer2DShape& shape) {
  const int64_t c = shape.channels;
  return {
      shape.use_linear_projection ? w("weight", {c, c}) : w("weight", {c, c, 1, 1}).view({c, c}),
      w("bias", {c}), w.quantization()};
}

// x += out(y), wherever that costs least; -> norm(x)
Tensor add_and_normalise(Tensor& x, const Linear& out, const Tensor& y, const LayerNorm& norm) {
  if (!out.adds_residual()) return norm.after_adding(x, out(y));
  x = out.plus(y, x);
  return norm(x);
}

}  // namespace

BasicTransformerBlock::BasicTransformerBlock(const Weights& w, const Transformer2DShape& shape)
    : heads(shape.heads),
      norm1(w / "norm1", shape.channels, layer_norm_eps),
      attn1_to_qkv(
          side_by_side({{w / "attn1" / "to_q", shape.channels, shape.channels, Bias::none},
                        {w / "attn1" / "to_k", shape.channels, shape.channels, Bias::none},
                        {w / "attn1" / "to_v", shape.channels, shape.channels, Bias::none}})),
      attn1_to_out(w / "attn1" / "to_out.0", shape.channels, shape.channels),
      norm2(w / "norm2", shape.channels, layer_norm_eps),
      attn2_to_q(w / "attn2" / "to_q", shape.channels, shape.channels, Bias::none),
      attn2_to_k((w / "attn2" / "to_k").in_full(), shape.text_width, shape.channels, Bias::none),
      attn2_to_v((w / "attn2" / "to_v").in_full(), shape.text_width, shape.channels, Bias::none),
      attn2_to_out(w / "attn2" / "to_out.0", shape.channels, shape.channels),
      norm3(w / "norm3", shape.channels, layer_norm_eps),
      ff_proj(w / "ff" / "net.0.proj", shape.channels, 4 * shape.channels),
      ff_out(w / "ff" / "net.2", 4 * shape.channels, shape.channels) {}

KeyValue BasicTransformerBlock::text_key_value(const Tensor& text) const {
  return {attn2_to_k(text), attn2_to_v(text)};
}

Tensor BasicTransformerBlock::operator()(Tensor x, const KeyValue& text) const {
  const auto qkv = attn1_to_qkv(norm1(x)).chunk(3, 2);
  const auto y =
      add_and_normalise(x, attn1_to_out, attention(qkv[0], qkv[1], qkv[2], heads), norm2);
  const auto z =
      add_and_normalise(x, attn2_to_out, attention(attn2_to_q(y), text.k, text.v, heads), norm3);
  return ff_out.plus(ff_proj(z), x);
}

Transformer2DModel::Transformer2DModel(const Weights& w, const Transformer2DShape& shape)
    : norm_(w / "norm", shape.norm_groups, shape.channels, group_norm_eps),
      proj_in_(projection(w / "proj_in", shape)),
      proj_out_(projection(w / "proj_out", shape)) {
  blocks_.reserve(shape.layers);
  for (int64_t i = 0; i < shape.layers; ++i) {
    blocks_.emplace_back(w / "transformer_blocks" / i, shape);
  }
}

void Transformer2DModel::text_key_values(const Tensor& text, std::vector<KeyValue>& out) const {
  for (const auto& block : blocks_) out.push_back(block.text_key_value(text));
}

Tensor Transformer2DModel::operator()(const Tensor& x, const KeyValue* text) const {
  auto tokens = proj_in_(to_tokens(norm_(x)));
  for (const auto& block : blocks_) tokens = block(std::move(tokens), *text++);
  tokens = proj_out_(tokens);
  return to_map(tokens, x.size(2), x.size(3)).add_(x);
}

}  // namespace backlot
