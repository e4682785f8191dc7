// The transformer inside the UNet: picture tokens attend to each other and to the text.
//
// Reference: diffusers/models/transformers/transformer_2d.py and models/attention.py.
// Shape letters: B batch, L picture tokens, T text tokens, C width, X text width, H heads.
#pragma once

#include <vector>

#include "nn/attention.h"
#include "nn/norm.h"

namespace backlot {

struct Transformer2DShape {
  int64_t channels, heads, layers;
  int64_t text_width, norm_groups;
  bool use_linear_projection;  // else proj_in and proj_out are stored as 1x1 convolutions
};

struct BasicTransformerBlock {
  BasicTransformerBlock(const Weights& w, const Transformer2DShape& shape);

  // text: [B, T, X]
  KeyValue text_key_value(const Tensor& text) const;

  // x: [B, L, C], written over -> [B, L, C]
  Tensor operator()(Tensor x, const KeyValue& text) const;

  int64_t heads;
  LayerNorm norm1;
  Linear attn1_to_qkv;
  Linear attn1_to_out;
  LayerNorm norm2;
  Linear attn2_to_q, attn2_to_k, attn2_to_v, attn2_to_out;
  LayerNorm norm3;
  Geglu ff_proj;
  Linear ff_out;
};

class Transformer2DModel {
 public:
  Transformer2DModel(const Weights& w, const Transformer2DShape& shape);

  // Appends the keys and values of each block for `text`: [B, T, X].
  void text_key_values(const Tensor& text, std::vector<KeyValue>& out) const;

  // x: [B, C, H, W]; `text` points at this model's first entry of what text_key_values made.
  Tensor operator()(const Tensor& x, const KeyValue* text) const;

  int64_t layers() const { return static_cast<int64_t>(blocks_.size()); }

 private:
  GroupNorm norm_;
  Linear proj_in_;
  std::vector<BasicTransformerBlock> blocks_;
  Linear proj_out_;
};

}  // namespace backlot
