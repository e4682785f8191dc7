// The way of queries through the chunks of keys and values, for any Attention that scores, weighs
// and mixes them (paged_attention_tiles.h has that of float32 products).
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/paged_attention.h"
#include "kernels/vector_math.h"

namespace backlot::kernels {
namespace {

constexpr int64_t chunk_tokens = PagedShape::chunk_tokens;
constexpr int64_t key_tokens = 16;  // whose keys are interleaved
constexpr int score_vectors = 4;

// Rows of queries of one kv head on their way through the chunks. Kept by each thread.
struct Scratch {
  BACKLOT_KERNEL_INLINE void take_queries() {}  // once they are in q

  void prepare(int64_t rows, int64_t head_dim) {
    q.resize(rows * head_dim);
    out.assign(rows * head_dim, 0.0f);
    weights.resize(rows * chunk_tokens);
    largest.assign(rows, -std::numeric_limits<float>::infinity());
    sum.assign(rows, 0.0f);
    shrink.resize(rows);
  }
  std::vector<float> q, out;                // [rows, head_dim]
  std::vector<float> weights;               // [rows, chunk_tokens]: scores, then weights
  std::vector<float> largest, sum, shrink;  // [rows]
};

// One chunk of one sequence's tokens, as far as they are visible.
struct Chunk {
  const int32_t* blocks;  // of the whole sequence
  int64_t first, count;   // tokens
};

// A row's scores become weights, zero from `visible` on, as `keep` stores them at their place from
// `i` on; it returns the values that it stored.
template <class Keep>
BACKLOT_KERNEL_INLINE void weigh_row(Scratch& scratch, int64_t row, int64_t visible, int64_t count,
                                     const Keep& keep) {
  const float* scores = scratch.weights.data() + row * chunk_tokens;
  const auto none = Vectors::all(-std::numeric_limits<float>::infinity());
  auto most = Vectors::all(scratch.largest[row]);
  for (int64_t i = 0; i < visible; i += Vectors::lanes) {
    most = Vectors::max(most, Vectors::first_lanes(visible - i, Vectors::load(scores + i), none));
  }
  const float largest = Vectors::largest(most);
  auto sum = Vectors::zero();
  for (int64_t i = 0; i < count; i += Vectors::lanes) {
    const auto weight = exponential(Vectors::load(scores + i) - Vectors::all(largest));
    sum += keep(i, Vectors::first_lanes(visible - i, weight, Vectors::zero()));
  }
  const float before = scratch.largest[row];
  scratch.shrink[row] = std::isinf(before) ? 0.0f : std::exp(before - largest);
  scratch.sum[row] = scratch.sum[row] * scratch.shrink[row] + Vectors::sum(sum);
  scratch.largest[row] = largest;
}

enum class Step { score, mix };

template <int rows, class Attention>
BACKLOT_KERNEL_INLINE void for_rows(const Attention& attention, Step step, const Chunk& chunk,
                                    int64_t& row, int64_t end) {
  if constexpr (rows <= Vectors::attention_rows) {
    for (; row + rows <= end; row += rows) {
      if (step == Step::score) {
        attention.template score<rows>(chunk, row);
      } else {
        attention.template mix<rows>(chunk, row);
      }
    }
  }
}

template <class Attention>
BACKLOT_KERNEL void all_rows(const Attention& attention, Step step, const Chunk& chunk, int64_t row,
                             int64_t end) {
  for_rows<6>(attention, step, chunk, row, end);
  for_rows<3>(attention, step, chunk, row, end);
  for_rows<2>(attention, step, chunk, row, end);
  for_rows<1>(attention, step, chunk, row, end);
}

// Whether two tokens read the same blocks in the chunk at `first`, as far as both see it.
inline bool agree(const PagedShape& shape, const PagedToken& a, const PagedToken& b,
                  int64_t first) {
  if (a.blocks == b.blocks) return true;
  const int64_t end = std::min({a.position + 1, b.position + 1, first + chunk_tokens});
  const int64_t from = first / shape.block_tokens;
  const int64_t to = (end + shape.block_tokens - 1) / shape.block_tokens;
  return std::equal(a.blocks + from, a.blocks + to, b.blocks + from);
}

template <class Attention>
struct TokenTile {
  const PagedShape& shape;
  const PagedCache& cache;
  const PagedQueries& queries;
  int64_t begin, end, kv_head;
  typename Attention::Scratch& scratch;

  BACKLOT_KERNEL void run() const {
    const int64_t heads = shape.queries_per_kv_head(), width = shape.head_dim;
    scratch.prepare((end - begin) * heads, width);
    int64_t tokens = 0;
    for (int64_t t = begin; t < end; ++t) {
      const float* q = queries.q + t * queries.q_stride + kv_head * heads * width;
      float* to = scratch.q.data() + (t - begin) * heads * width;
      for (int64_t i = 0; i < heads * width; ++i) to[i] = q[i] * shape.scale;
      tokens = std::max(tokens, queries.tokens[t].position + 1);
    }
    scratch.take_queries();
    for (int64_t first = 0; first < tokens; first += chunk_tokens) visit(first);
    for (int64_t t = begin; t < end; ++t) finish(t);
  }

  // Neighbours that read the same blocks of the chunk at `first` do so together.
  BACKLOT_KERNEL_INLINE void visit(int64_t first) const {
    for (int64_t t = begin; t < end;) {
      const auto* widest = queries.tokens + t;
      int64_t next = t + 1;
      if (widest->position >= first) {
        for (; next < end; ++next) {
          const auto& other = queries.tokens[next];
          if (other.position < first || !agree(shape, *widest, other, first)) break;
          if (other.position > widest->position) widest = &other;
        }
        const int64_t count = std::min(widest->position + 1 - first, chunk_tokens);
        visit(Chunk{widest->blocks, first, count}, t, next);
      }
      t = next;
    }
  }

  BACKLOT_KERNEL_INLINE void visit(const Chunk& chunk, int64_t from, int64_t to) const {
    const Attention attention{shape, cache, kv_head, scratch};
    const int64_t heads = shape.queries_per_kv_head();
    const int64_t row = (from - begin) * heads, last = (to - begin) * heads;
    all_rows(attention, Step::score, chunk, row, last);
    for (int64_t t = from; t < to; ++t) {
      const int64_t visible = std::min(queries.tokens[t].position + 1 - chunk.first, chunk.count);
      for (int64_t r = (t - begin) * heads; r < (t + 1 - begin) * heads; ++r) {
        attention.weigh(r, visible, chunk.count);
      }
    }
    all_rows(attention, Step::mix, chunk, row, last);
  }

  BACKLOT_KERNEL_INLINE void finish(int64_t token) const {
    const int64_t heads = shape.queries_per_kv_head(), width = shape.head_dim;
    float* out = queries.out + token * queries.out_stride + kv_head * heads * width;
    const int64_t row = (token - begin) * heads;
    for (int64_t r = 0; r < heads; ++r) {
      const float share = 1 / scratch.sum[row + r];
      const float* from = scratch.out.data() + (row + r) * width;
      for (int64_t i = 0; i < width; ++i) out[r * width + i] = from[i] * share;
    }
  }
};

template <class Attention>
BACKLOT_KERNEL void attend_with(const PagedShape& shape, const PagedCache& cache,
                                const PagedQueries& queries, int64_t begin, int64_t end,
                                int64_t first, int64_t last) {
  thread_local typename Attention::Scratch scratch;
  const int64_t at_once = paged_tokens_at_once(shape);
  for (int64_t t = begin; t < end; t += at_once) {
    const int64_t to = std::min(t + at_once, end);
    for (int64_t head = first; head < last; ++head) {
      TokenTile<Attention>{shape, cache, queries, t, to, head, scratch}.run();
    }
  }
}

}  // namespace
}  // namespace backlot::kernels
