// Paged attention for one type of vector; see versions.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/float16.h"
#include "kernels/paged_attention.h"
#include "kernels/vector_math.h"

namespace backlot::kernels {
namespace {

constexpr int64_t chunk_tokens = PagedShape::chunk_tokens;
constexpr int64_t key_tokens = 16;  // whose keys are interleaved
constexpr int64_t tile_queries = 48;
constexpr int score_vectors = 4;

// Rows of queries of one kv head on their way through the chunks. Kept by each thread.
struct Scratch {
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

// Two neighbours of a value in the cache: those of bfloat16 share a word.
template <KvType type>
struct Pairs {
  static constexpr int64_t size = type == KvType::bfloat16 ? 2 : 4;

  // keys: `lanes` tokens' dimensions d and d + 1, from a group's start plus 2 * d * key_tokens.
  BACKLOT_KERNEL_INLINE static void load_keys(const std::byte* at, Vectors::Floats (&pair)[2]) {
    if constexpr (type == KvType::bfloat16) {
      split(at, pair);
    } else {
      const auto* values = reinterpret_cast<const float*>(at);
      pair[0] = Vectors::load(values);
      pair[1] = Vectors::load(values + key_tokens);
    }
  }

  BACKLOT_KERNEL_INLINE static void split(const std::byte* at, Vectors::Floats (&pair)[2]) {
    const auto words = (Vectors::Words)Vectors::load(reinterpret_cast<const float*>(at));
    pair[0] = (Vectors::Floats)(words << 16);
    pair[1] = (Vectors::Floats)(words & ~0xffff);
  }
};

template <KvType type>
struct Attention {
  const PagedShape& shape;
  const PagedCache& cache;
  int64_t kv_head;
  Scratch& scratch;

  static constexpr int64_t size = type == KvType::bfloat16 ? 2 : 4;

  // The group of key_tokens that holds a token, and the pair that does among the values.
  BACKLOT_KERNEL_INLINE const std::byte* keys_of(const Chunk& chunk, int64_t token) const {
    const int64_t in_block = token % shape.block_tokens;
    return head_of(cache.keys, chunk, token) +
           in_block / key_tokens * key_tokens * shape.head_dim * size;
  }
  BACKLOT_KERNEL_INLINE const std::byte* values_of(const Chunk& chunk, int64_t token) const {
    return head_of(cache.values, chunk, token) + token % shape.block_tokens * shape.head_dim * size;
  }
  BACKLOT_KERNEL_INLINE const std::byte* head_of(const std::byte* base, const Chunk& chunk,
                                                 int64_t token) const {
    const int64_t block = chunk.blocks[token / shape.block_tokens];
    return base + ((block * shape.kv_heads + kv_head) * shape.block_tokens) * shape.head_dim * size;
  }

  // Scores of `rows` rows with score_vectors vectors of keys.
  template <int rows>
  BACKLOT_KERNEL_INLINE void score_tile(const std::byte* const (&keys)[score_vectors],
                                        const float* q, float* scores) const {
    Vectors::Floats sums[rows][score_vectors];
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < score_vectors; ++v) sums[r][v] = Vectors::zero();
    }
    for (int64_t d = 0; d < shape.head_dim; d += 2) {
      Vectors::Floats pair[score_vectors][2];
#pragma GCC unroll 4
      for (int v = 0; v < score_vectors; ++v) {
        Pairs<type>::load_keys(keys[v] + d * key_tokens * size, pair[v]);
      }
#pragma GCC unroll 2
      for (int each = 0; each < 2; ++each) {
#pragma GCC unroll 8
        for (int r = 0; r < rows; ++r) {
          const auto x = Vectors::all(q[r * shape.head_dim + d + each]);
#pragma GCC unroll 4
          for (int v = 0; v < score_vectors; ++v) {
            sums[r][v] = Vectors::multiply_add(x, pair[v][each], sums[r][v]);
          }
        }
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < score_vectors; ++v) {
        Vectors::store(scores + r * chunk_tokens + v * Vectors::lanes, sums[r][v]);
      }
    }
  }

  template <int rows>
  BACKLOT_KERNEL_INLINE void score(const Chunk& chunk, int64_t row) const {
    constexpr int64_t at_once = score_vectors * Vectors::lanes;
    for (int64_t from = 0; from < chunk.count; from += at_once) {
      const std::byte* keys[score_vectors];
      for (int v = 0; v < score_vectors; ++v) {
        // Vectors past the last visible token do the work of the first again.
        int64_t token = from + v * Vectors::lanes;
        if (token >= chunk.count) token = from;
        constexpr int64_t word = type == KvType::bfloat16 ? 4 : size;
        keys[v] = keys_of(chunk, chunk.first + token) + token % key_tokens * word;
      }
      score_tile<rows>(keys, scratch.q.data() + row * shape.head_dim,
                       scratch.weights.data() + row * chunk_tokens + from);
    }
  }

  // A row's scores become weights, zero from `visible` on.
  BACKLOT_KERNEL_INLINE void weigh(int64_t row, int64_t visible, int64_t count) const {
    float* weights = scratch.weights.data() + row * chunk_tokens;
    const auto none = Vectors::all(-std::numeric_limits<float>::infinity());
    auto most = Vectors::all(scratch.largest[row]);
    for (int64_t i = 0; i < visible; i += Vectors::lanes) {
      most =
          Vectors::max(most, Vectors::first_lanes(visible - i, Vectors::load(weights + i), none));
    }
    const float largest = Vectors::largest(most);
    auto sum = Vectors::zero();
    for (int64_t i = 0; i < count; i += Vectors::lanes) {
      const auto weight = exponential(Vectors::load(weights + i) - Vectors::all(largest));
      const auto kept = Vectors::first_lanes(visible - i, weight, Vectors::zero());
      sum += kept;
      Vectors::store(weights + i, kept);
    }
    const float before = scratch.largest[row];
    scratch.shrink[row] = std::isinf(before) ? 0.0f : std::exp(before - largest);
    scratch.sum[row] = scratch.sum[row] * scratch.shrink[row] + Vectors::sum(sum);
    scratch.largest[row] = largest;
  }

  // The dimensions of `vectors` vectors from `d` on: what came before, shrunk, and the chunk's
  // values.
  template <int rows, int vectors>
  BACKLOT_KERNEL_INLINE void mix_tile(const Chunk& chunk, int64_t row, int64_t d) const {
    float* out = scratch.out.data() + row * shape.head_dim + d;
    const float* weights = scratch.weights.data() + row * chunk_tokens;
    Vectors::Floats sums[rows][vectors];
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) {
        sums[r][v] = Vectors::load(out + r * shape.head_dim + v * Vectors::lanes) *
                     Vectors::all(scratch.shrink[row + r]);
      }
    }
    const auto add = [&](const Vectors::Floats(&values)[vectors], int64_t token)
                         BACKLOT_KERNEL_LAMBDA {
#pragma GCC unroll 8
                           for (int r = 0; r < rows; ++r) {
                             const auto weight = Vectors::all(weights[r * chunk_tokens + token]);
#pragma GCC unroll 4
                             for (int v = 0; v < vectors; ++v) {
                               sums[r][v] = Vectors::multiply_add(weight, values[v], sums[r][v]);
                             }
                           }
                         };
    const int64_t step = 2 * shape.head_dim * size;
    for (int64_t first = 0; first < chunk.count; first += key_tokens) {
      const auto* at = values_of(chunk, chunk.first + first);
      const int64_t last = std::min(chunk.count, first + key_tokens);
      for (int64_t token = first; token < last; token += 2, at += step) {
        Vectors::Floats even[vectors], odd[vectors];
        load_values<vectors>(at, d, even, odd);
        add(even, token);
        if (token + 1 < last) add(odd, token + 1);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) {
        Vectors::store(out + r * shape.head_dim + v * Vectors::lanes, sums[r][v]);
      }
    }
  }

  template <int vectors>
  BACKLOT_KERNEL_INLINE void load_values(const std::byte* at, int64_t d,
                                         Vectors::Floats (&even)[vectors],
                                         Vectors::Floats (&odd)[vectors]) const {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      const int64_t from = d + v * Vectors::lanes;
      if constexpr (type == KvType::bfloat16) {
        Vectors::Floats pair[2];
        Pairs<type>::split(at + from * 4, pair);
        even[v] = pair[0];
        odd[v] = pair[1];
      } else {
        const auto* values = reinterpret_cast<const float*>(at) + from;
        even[v] = Vectors::load(values);
        odd[v] = Vectors::load(values + shape.head_dim);
      }
    }
  }

  template <int rows>
  BACKLOT_KERNEL_INLINE void mix(const Chunk& chunk, int64_t row) const {
    int64_t d = 0;
    for (; d + 4 * Vectors::lanes <= shape.head_dim; d += 4 * Vectors::lanes) {
      mix_tile<rows, 4>(chunk, row, d);
    }
    for (; d < shape.head_dim; d += Vectors::lanes) mix_tile<rows, 1>(chunk, row, d);
  }

  enum class Step { score, mix };

  template <int rows>
  BACKLOT_KERNEL_INLINE void for_rows(Step step, const Chunk& chunk, int64_t& row,
                                      int64_t end) const {
    if constexpr (rows <= Vectors::attention_rows) {
      for (; row + rows <= end; row += rows) {
        if (step == Step::score) {
          score<rows>(chunk, row);
        } else {
          mix<rows>(chunk, row);
        }
      }
    }
  }

  BACKLOT_KERNEL void all_rows(Step step, const Chunk& chunk, int64_t row, int64_t end) const {
    for_rows<6>(step, chunk, row, end);
    for_rows<3>(step, chunk, row, end);
    for_rows<2>(step, chunk, row, end);
    for_rows<1>(step, chunk, row, end);
  }
};

// Whether two tokens read the same blocks in the chunk at `first`, as far as both see it.
inline bool agree(const PagedShape& shape, const PagedToken& a, const PagedToken& b,
                  int64_t first) {
  if (a.blocks == b.blocks) return true;
  const int64_t end = std::min({a.position + 1, b.position + 1, first + chunk_tokens});
  const int64_t from = first / shape.block_tokens;
  const int64_t to = (end + shape.block_tokens - 1) / shape.block_tokens;
  return std::equal(a.blocks + from, a.blocks + to, b.blocks + from);
}

template <KvType type>
struct TokenTile {
  const PagedShape& shape;
  const PagedCache& cache;
  const PagedQueries& queries;
  int64_t begin, end, kv_head;
  Scratch& scratch;

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
    const Attention<type> attention{shape, cache, kv_head, scratch};
    using Step = typename Attention<type>::Step;
    const int64_t heads = shape.queries_per_kv_head();
    const int64_t row = (from - begin) * heads, last = (to - begin) * heads;
    attention.all_rows(Step::score, chunk, row, last);
    for (int64_t t = from; t < to; ++t) {
      const int64_t visible = std::min(queries.tokens[t].position + 1 - chunk.first, chunk.count);
      for (int64_t r = (t - begin) * heads; r < (t + 1 - begin) * heads; ++r) {
        attention.weigh(r, visible, chunk.count);
      }
    }
    attention.all_rows(Step::mix, chunk, row, last);
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

BACKLOT_KERNEL void attend_paged_version(const PagedShape& shape, const PagedCache& cache,
                                         const PagedQueries& queries, int64_t begin, int64_t end,
                                         int64_t first, int64_t last) {
  thread_local Scratch scratch;
  const int64_t at_once = paged_tokens_at_once(shape);
  for (int64_t t = begin; t < end; t += at_once) {
    const int64_t to = std::min(t + at_once, end);
    for (int64_t head = first; head < last; ++head) {
      if (shape.type == KvType::bfloat16) {
        TokenTile<KvType::bfloat16>{shape, cache, queries, t, to, head, scratch}.run();
      } else {
        TokenTile<KvType::float32>{shape, cache, queries, t, to, head, scratch}.run();
      }
    }
  }
}

}  // namespace
}  // namespace backlot::kernels
