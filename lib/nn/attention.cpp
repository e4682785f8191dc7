#include "nn/attention.h"

#include <ATen/ATen.h>

namespace backlot {

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, Mask mask) {
  const auto split = [&](const Tensor& x) {
    return x.unflatten(2, at::IntArrayRef({heads, x.size(2) / heads})).transpose(1, 2);
  };
  const auto y = at::scaled_dot_product_attention(split(q), split(k), split(v), {}, 0.0,
                                                  mask == Mask::causal);  // [B, H, L, K]
  return y.transpose(1, 2).flatten(2);
}

}  // namespace backlot
