#include "kernels/paged_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/float16.h"
#include "kernels/versions.h"

namespace backlot::kernels {
namespace {

constexpr int64_t key_tokens = 16;

// Where a token's values of one kv head are kept in a block table's blocks, in values.
struct Slot {
  Slot(const PagedShape& shape, const int32_t* blocks, int64_t token, int64_t kv_head)
      : type(shape.type), width(shape.head_dim), in_block(token % shape.block_tokens) {
    const int64_t block = blocks[token / shape.block_tokens];
    head = (block * shape.kv_heads + kv_head) * shape.block_tokens * width;
  }

  int64_t key(int64_t d) const {
    const int64_t group = head + in_block / key_tokens * key_tokens * width;
    const int64_t lane = in_block % key_tokens;
    if (type == KvType::float32) return group + d * key_tokens + lane;
    return group + (d / 2 * key_tokens + lane) * 2 + d % 2;
  }
  int64_t value(int64_t d) const {
    if (type == KvType::float32) return head + in_block * width + d;
    return head + (in_block / 2 * width + d) * 2 + in_block % 2;
  }

  KvType type;
  int64_t width, in_block, head;
};

// One head of one token.
void store_float32(const PagedCache& cache, const Slot& slot, const float* k, const float* v) {
  float* key = reinterpret_cast<float*>(cache.keys) + slot.key(0);
  for (int64_t d = 0; d < slot.width; ++d) key[d * key_tokens] = k[d];
  std::copy_n(v, slot.width, reinterpret_cast<float*>(cache.values) + slot.value(0));
}

void store_bfloat16(const PagedCache& cache, const Slot& slot, const float* k, const float* v) {
  uint16_t* key = reinterpret_cast<uint16_t*>(cache.keys) + slot.key(0);
  uint16_t* value = reinterpret_cast<uint16_t*>(cache.values) + slot.value(0);
  for (int64_t d = 0; d < slot.width; d += 2, key += 2 * key_tokens) {
    key[0] = to_bfloat16(k[d]);
    key[1] = to_bfloat16(k[d + 1]);
  }
  for (int64_t d = 0; d < slot.width; ++d) value[2 * d] = to_bfloat16(v[d]);
}

float load(KvType type, const std::byte* base, int64_t at) {
  if (type == KvType::float32) {
    float value;
    std::memcpy(&value, base + at * sizeof value, sizeof value);
    return value;
  }
  uint16_t half;
  std::memcpy(&half, base + at * sizeof half, sizeof half);
  return from_bfloat16(half);
}

// One head of one token, plainly: for widths that fill no vectors.
void attend_plainly(const PagedShape& shape, const PagedCache& cache, const PagedToken& token,
                    int64_t kv_head, const float* q, float* out) {
  const int64_t count = token.position + 1;
  thread_local std::vector<float> weights;
  weights.resize(count);
  for (int64_t t = 0; t < count; ++t) {
    const Slot slot(shape, token.blocks, t, kv_head);
    float score = 0;
    for (int64_t d = 0; d < shape.head_dim; ++d) {
      score += q[d] * load(shape.type, cache.keys, slot.key(d));
    }
    weights[t] = score * shape.scale;
  }
  const float largest = *std::max_element(weights.begin(), weights.end());
  float sum = 0;
  for (auto& weight : weights) sum += weight = std::exp(weight - largest);
  std::fill_n(out, shape.head_dim, 0.0f);
  for (int64_t t = 0; t < count; ++t) {
    const Slot slot(shape, token.blocks, t, kv_head);
    for (int64_t d = 0; d < shape.head_dim; ++d) {
      out[d] += weights[t] / sum * load(shape.type, cache.values, slot.value(d));
    }
  }
}

}  // namespace

void write_kv(const PagedShape& shape, const PagedCache& cache, const float* k, const float* v,
              int64_t stride, const int32_t* blocks, int64_t position, int64_t count) {
  for (int64_t t = 0; t < count; ++t) {
    for (int64_t head = 0; head < shape.kv_heads; ++head) {
      const Slot slot(shape, blocks, position + t, head);
      const int64_t from = t * stride + head * shape.head_dim;
      const auto store = shape.type == KvType::float32 ? store_float32 : store_bfloat16;
      store(cache, slot, k + from, v + from);
    }
  }
}

int64_t paged_tokens_at_once(const PagedShape& shape) {
  return std::max<int64_t>(1, 48 / shape.queries_per_kv_head());
}

void attend_paged(const PagedShape& shape, const PagedCache& cache, const PagedQueries& queries,
                  int64_t begin, int64_t end, int64_t first, int64_t last, Isa isa) {
#if defined(__x86_64__)
  if (shape.rounded_dots) {
    return attend_paged_rounded(shape, cache, queries, begin, end, first, last);
  }
#endif
  if (shape.head_dim % 16 == 0) {
    return version_for(isa).attend_paged(shape, cache, queries, begin, end, first, last);
  }
  const int64_t heads = shape.queries_per_kv_head();
  for (int64_t t = begin; t < end; ++t) {
    for (int64_t head = first * heads; head < last * heads; ++head) {
      const int64_t at = head * shape.head_dim;
      attend_plainly(shape, cache, queries.tokens[t], head / heads,
                     queries.q + t * queries.q_stride + at,
                     queries.out + t * queries.out_stride + at);
    }
  }
}

}  // namespace backlot::kernels
