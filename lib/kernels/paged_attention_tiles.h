// Paged attention with products of float32, for one type of vector; see versions.h.
#pragma once

#include "kernels/paged_attention_walk.h"

namespace backlot::kernels {
namespace {

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
  kernels::Scratch& scratch;

  using Scratch = kernels::Scratch;

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

  BACKLOT_KERNEL_INLINE void weigh(int64_t row, int64_t visible, int64_t count) const {
    float* weights = scratch.weights.data() + row * chunk_tokens;
    weigh_row(scratch, row, visible, count,
              [&](int64_t i, Vectors::Floats x) BACKLOT_KERNEL_LAMBDA {
                Vectors::store(weights + i, x);
                return x;
              });
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
};

BACKLOT_KERNEL void attend_paged_version(const PagedShape& shape, const PagedCache& cache,
                                         const PagedQueries& queries, int64_t begin, int64_t end,
                                         int64_t first, int64_t last) {
  const auto attend = shape.type == KvType::bfloat16 ? attend_with<Attention<KvType::bfloat16>>
                                                     : attend_with<Attention<KvType::float32>>;
  attend(shape, cache, queries, begin, end, first, last);
}

}  // namespace
}  // namespace backlot::kernels
