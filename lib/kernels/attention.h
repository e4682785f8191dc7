// softmax(q k' / sqrt(width)) v of one head in bfloat16, sums in float32, scores in small blocks
// that never leave the caches: the online softmax of Dao et al., FlashAttention (arXiv 2205.14135).
#pragma once

#include <cstdint>

#include "kernels/bfloat16.h"

namespace backlot::kernels {

struct AttentionShape {
  int64_t queries, keys;
  int64_t width;                            // of a head: a multiple of 16
  int64_t q_stride, kv_stride, out_stride;  // values from one token to the next

  int64_t padded_keys() const { return (keys + lanes - 1) / lanes * lanes; }
  int64_t packed_values() const { return padded_keys() * width; }  // of keys, and of values
};

constexpr int64_t queries_at_once = 48;

// Lays a head's keys and values out for attend(), `packed_values` each.
void pack_keys(const AttentionShape& shape, const bfloat16* keys, bfloat16* packed);
void pack_values(const AttentionShape& shape, const bfloat16* values, bfloat16* packed);

// The queries [begin, end), at most queries_at_once of them; q and out point at the first query.
void attend(const AttentionShape& shape, const bfloat16* q, const bfloat16* keys,
            const bfloat16* values, bfloat16* out, int64_t begin, int64_t end);

}  // namespace backlot::kernels
