// Rotary position embedding (Su et al., RoFormer, arXiv 2104.09864) as transformers' Llama and
// Qwen2 apply it: the halves of a head are the two coordinates that turn.
#pragma once

#include <ATen/core/Tensor.h>

#include "weights/decoder_config.h"

namespace backlot {

struct RotaryTable {
  at::Tensor cos, sin;  // [positions, head_dim / 2] float32, scaled by yarn's attention factor

  RotaryTable to(const at::TensorOptions& options) const {
    return {cos.to(options), sin.to(options)};
  }
};

// For the positions 0 … positions - 1, on the CPU. The frequencies are transformers' for every kind
// of scaling (modeling_rope_utils.py), in the same float32 steps.
RotaryTable make_rotary_table(const DecoderConfig& config, int64_t positions);

// x: [tokens, heads, head_dim]; cos and sin: [tokens, head_dim / 2] of x's dtype -> as x
at::Tensor rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin);

}  // namespace backlot
