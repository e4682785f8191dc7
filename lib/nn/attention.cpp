#include "nn/attention.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>

#include "kernels/attention.h"

namespace backlot {
namespace {

using kernels::AttentionShape;
using kernels::bfloat16;

bool has_kernel(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, Mask mask) {
  const auto tokens = [](const Tensor& x) { return x.stride(2) == 1 || x.size(2) == 1; };
  return mask == Mask::none && q.device().is_cpu() && q.scalar_type() == at::kBFloat16 &&
         kernels::has_bfloat16_dot() && !kernels::has_bfloat16_tiles() &&
         q.size(2) / heads % kernels::lanes == 0 && tokens(q) && tokens(k) && tokens(v) &&
         k.stride(1) == v.stride(1) && k.stride(0) == v.stride(0) && k.size(1) > 0;
}

const bfloat16* bits(const Tensor& x) { return static_cast<const bfloat16*>(x.const_data_ptr()); }

Tensor attention_by_kernel(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads) {
  const int64_t batch = q.size(0), queries = q.size(1), channels = q.size(2);
  const AttentionShape shape{.queries = queries,
                             .keys = k.size(1),
                             .width = channels / heads,
                             .q_stride = q.stride(1),
                             .kv_stride = k.stride(1),
                             .out_stride = channels};
  auto out = at::empty({batch, queries, channels}, q.options());
  auto packed = at::empty({2, batch * heads, shape.packed_values()}, q.options());
  auto* to = static_cast<bfloat16*>(out.mutable_data_ptr());
  auto* keys = static_cast<bfloat16*>(packed.mutable_data_ptr());
  auto* values = keys + packed.stride(0);
  const auto head = [&](const Tensor& x, int64_t i) {
    return bits(x) + i / heads * x.stride(0) + i % heads * shape.width;
  };
  at::parallel_for(0, batch * heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      kernels::pack_keys(shape, head(k, i), keys + i * shape.packed_values());
      kernels::pack_values(shape, head(v, i), values + i * shape.packed_values());
    }
  });
  const int64_t blocks = (queries + kernels::queries_at_once - 1) / kernels::queries_at_once;
  at::parallel_for(0, batch * heads * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t one = i / blocks, first = i % blocks * kernels::queries_at_once;
      kernels::attend(shape, head(q, one), keys + one * shape.packed_values(),
                      values + one * shape.packed_values(), to + (head(out, one) - bits(out)),
                      first, std::min(first + kernels::queries_at_once, queries));
    }
  });
  return out;
}

}  // namespace

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, Mask mask) {
  if (has_kernel(q, k, v, heads, mask)) return attention_by_kernel(q, k, v, heads);
  const auto split = [&](const Tensor& x) {
    return x.unflatten(2, at::IntArrayRef({heads, x.size(2) / heads})).transpose(1, 2);
  };
  const auto y = at::scaled_dot_product_attention(split(q), split(k), split(v), {}, 0.0,
                                                  mask == Mask::causal);  // [B, H, L, K]
  return y.transpose(1, 2).flatten(2);
}

}  // namespace backlot
