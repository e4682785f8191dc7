// Causal attention with grouped queries over keys and values in blocks (Kwon et al.,
// PagedAttention, arXiv 2309.06180), by the online softmax of FlashAttention (arXiv 2205.14135).
// Sums in float32.
//
// Keys are visited in chunks of chunk_tokens counted from the sequence's start, so that a token's
// result has the same bits whichever tokens are computed with it: one at a time, a whole prompt, or
// beside other sequences.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/isa.h"

namespace backlot::kernels {

enum class KvType { bfloat16, float32 };

struct PagedShape {
  static constexpr int64_t chunk_tokens = 64;

  int64_t heads, kv_heads;  // heads: a multiple of kv_heads
  int64_t head_dim;         // an even number; multiples of 16 are fast
  int64_t block_tokens;     // 16, 32 or a multiple of 64
  KvType type;
  float scale;  // of the scores: 1 / sqrt(head_dim), as a rule
  // Queries and weights are rounded to bfloat16 as well, for products at twice the rate. For
  // KvType::bfloat16 with a head_dim that is a multiple of 16, where has_bfloat16_dot(), whatever
  // the Isa.
  bool rounded_dots = false;

  int64_t queries_per_kv_head() const { return heads / kv_heads; }
  // Of a layer's keys in one block; its values take as many. A layer's keys are [blocks] of these.
  int64_t block_values() const { return kv_heads * head_dim * block_tokens; }
  size_t block_bytes() const { return block_values() * (type == KvType::bfloat16 ? 2 : 4); }
};

// One layer's keys and values, `block_bytes` for each block, 64-byte aligned. Need not be cleared:
// nothing is read of a token that was not written.
//   bfloat16: keys   [block][kv_head][block_tokens / 16][head_dim / 2][16 tokens][2]
//             values [block][kv_head][block_tokens / 2][head_dim][2 tokens]
//   float32:  keys   [block][kv_head][block_tokens / 16][head_dim][16 tokens]
//             values [block][kv_head][block_tokens][head_dim]
struct PagedCache {
  std::byte* keys;
  std::byte* values;
};

// Stores the keys (after the rotary embedding) and values of `count` tokens of one sequence.
// k, v: [count, kv_heads, head_dim], tokens `stride` values apart. blocks: of the whole sequence.
// Rounds to the nearest bfloat16, ties to even.
void write_kv(const PagedShape& shape, const PagedCache& cache, const float* k, const float* v,
              int64_t stride, const int32_t* blocks, int64_t position, int64_t count);

// A token that asks: it sees the tokens 0 … position of its sequence, itself included.
struct PagedToken {
  int64_t position;
  const int32_t* blocks;  // of the whole sequence
};

struct PagedQueries {
  const float* q;  // [tokens, heads, head_dim], tokens q_stride values apart
  int64_t q_stride;
  float* out;  // [tokens, heads, head_dim], tokens out_stride values apart
  int64_t out_stride;
  const PagedToken* tokens;
};

// Tokens that are worth taking together in a call; a multiple of it is as good.
int64_t paged_tokens_at_once(const PagedShape& shape);

// The tokens [begin, end) with the kv heads [first, last). Neighbours whose block tables agree,
// tokens of one sequence or sequences with a common beginning, read those blocks together: put
// such tokens side by side.
void attend_paged(const PagedShape& shape, const PagedCache& cache, const PagedQueries& queries,
                  int64_t begin, int64_t end, int64_t first, int64_t last, Isa isa = best_isa());

}  // namespace backlot::kernels
