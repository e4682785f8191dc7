// Attention over heads that lie side by side in the last dimension.
#pragma once

#include <utility>

#include "nn/layers.h"

namespace backlot {

enum class Mask { none, causal };

// q: [B, L, H * K], k and v: [B, T, H * K] -> [B, L, H * K]; softmax(q k' / sqrt(K)) v per head.
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads,
                 Mask mask = Mask::none);

// The keys and values of a text, the same at every step.
struct KeyValue {
  Tensor k, v;  // [B, T, C] each
};

}  // namespace backlot
