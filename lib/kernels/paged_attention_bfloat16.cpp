// Paged attention with dot products of bfloat16 pairs (vdpbf16ps): the cache's layout is made for
// them.
#if defined(__x86_64__)

#include <cstring>

#define BACKLOT_AVX512_BF16_DOTS
#include "kernels/vectors_avx512.h"
// The vectors go first: the others are templates over them.
#include "kernels/paged_attention_walk.h"
#include "kernels/versions.h"

namespace backlot::kernels {
namespace {

using Pairs = __m512bh;

BACKLOT_KERNEL_INLINE Pairs load_pairs(const std::byte* at) {
  return (Pairs)_mm512_loadu_si512(at);
}

// The same two values in every lane.
BACKLOT_KERNEL_INLINE Pairs repeat_pair(const uint16_t* at) {
  int32_t pair;
  std::memcpy(&pair, at, sizeof pair);
  return (Pairs)_mm512_set1_epi32(pair);
}

// Stores x rounded to the nearest bfloat16, and returns what it stored.
BACKLOT_KERNEL_INLINE Vectors::Floats store_rounded(uint16_t* at, Vectors::Floats x) {
  const auto half = (__m256i)_mm512_cvtneps_pbh(x);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), half);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

struct RoundedScratch : Scratch {
  BACKLOT_KERNEL_INLINE void take_queries() {
    rounded_q.resize(q.size());
    rounded_weights.resize(weights.size());
    for (size_t i = 0; i < q.size(); i += Vectors::lanes) {
      store_rounded(rounded_q.data() + i, Vectors::load(q.data() + i));
    }
  }
  std::vector<uint16_t> rounded_q;        // [rows, head_dim]
  std::vector<uint16_t> rounded_weights;  // [rows, chunk_tokens]
};

struct RoundedAttention {
  const PagedShape& shape;
  const PagedCache& cache;
  int64_t kv_head;
  RoundedScratch& scratch;

  using Scratch = RoundedScratch;
  static constexpr int64_t size = sizeof(uint16_t);

  BACKLOT_KERNEL_INLINE const std::byte* head_of(const std::byte* base, const Chunk& chunk,
                                                 int64_t token) const {
    const int64_t block = chunk.blocks[token / shape.block_tokens];
    return base + (block * shape.kv_heads + kv_head) * shape.block_tokens * shape.head_dim * size;
  }

  // Every row takes the same keys in the same order. Vectors past the last visible token do the
  // work of the first again.
  template <int rows>
  BACKLOT_KERNEL_INLINE void score(const Chunk& chunk, int64_t row) const {
    static_assert(score_vectors * Vectors::lanes == chunk_tokens && Vectors::lanes == key_tokens);
    const std::byte* keys[score_vectors];
    for (int v = 0; v < score_vectors; ++v) {
      const int64_t token = chunk.first + (v * key_tokens < chunk.count ? v * key_tokens : 0);
      keys[v] =
          head_of(cache.keys, chunk, token) + token % shape.block_tokens * shape.head_dim * size;
    }
    const uint16_t* q = scratch.rounded_q.data() + row * shape.head_dim;
    Vectors::Floats sums[rows][score_vectors];
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < score_vectors; ++v) sums[r][v] = Vectors::zero();
    }
    for (int64_t d = 0; d < shape.head_dim; d += 2) {
      Pairs pairs[score_vectors];
#pragma GCC unroll 4
      for (int v = 0; v < score_vectors; ++v) {
        pairs[v] = load_pairs(keys[v] + d * key_tokens * size);
      }
      add<rows, score_vectors>(q + d, shape.head_dim, pairs, sums);
    }
    float* scores = scratch.weights.data() + row * chunk_tokens;
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < score_vectors; ++v) {
        Vectors::store(scores + r * chunk_tokens + v * Vectors::lanes, sums[r][v]);
      }
    }
  }

  BACKLOT_KERNEL_INLINE void weigh(int64_t row, int64_t visible, int64_t count) const {
    uint16_t* weights = scratch.rounded_weights.data() + row * chunk_tokens;
    // The sum is of what was stored: a row's shares add up to one.
    weigh_row(scratch, row, visible, count,
              [&](int64_t i, Vectors::Floats x)
                  BACKLOT_KERNEL_LAMBDA { return store_rounded(weights + i, x); });
  }

  template <int rows>
  BACKLOT_KERNEL_INLINE void mix(const Chunk& chunk, int64_t row) const {
    int64_t d = 0;
    for (; d + 4 * Vectors::lanes <= shape.head_dim; d += 4 * Vectors::lanes) {
      mix_tile<rows, 4>(chunk, row, d);
    }
    for (; d < shape.head_dim; d += Vectors::lanes) mix_tile<rows, 1>(chunk, row, d);
  }

 private:
  // To every row's sums, its pair of `from` with each of `pairs`.
  template <int rows, int vectors>
  BACKLOT_KERNEL_INLINE static void add(const uint16_t* from, int64_t stride,
                                        const Pairs (&pairs)[vectors],
                                        Vectors::Floats (&sums)[rows][vectors]) {
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const auto pair = repeat_pair(from + r * stride);
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) sums[r][v] = _mm512_dpbf16_ps(sums[r][v], pair, pairs[v]);
    }
  }

  // The dimensions of `vectors` vectors from `d` on: what came before, shrunk, and the chunk's
  // values.
  template <int rows, int vectors>
  BACKLOT_KERNEL_INLINE void mix_tile(const Chunk& chunk, int64_t row, int64_t d) const {
    float* out = scratch.out.data() + row * shape.head_dim + d;
    const uint16_t* weights = scratch.rounded_weights.data() + row * chunk_tokens;
    Vectors::Floats sums[rows][vectors];
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) {
        sums[r][v] = Vectors::load(out + r * shape.head_dim + v * Vectors::lanes) *
                     Vectors::all(scratch.shrink[row + r]);
      }
    }
    const int64_t step = 2 * shape.head_dim * size;
    for (int64_t first = 0; first < chunk.count; first += key_tokens) {
      const int64_t place = (chunk.first + first) % shape.block_tokens;
      const auto* at = head_of(cache.values, chunk, chunk.first + first) +
                       (place * shape.head_dim + 2 * d) * size;
      const int64_t last = std::min(chunk.count, first + key_tokens);
      for (int64_t token = first; token < last; token += 2, at += step) {
        Pairs pairs[vectors];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) {
          pairs[v] = load_pairs(at + v * Vectors::lanes * 2 * size);
          // Of a token that nobody sees anything may be there: not even zero times it is zero.
          if (token + 1 == last) pairs[v] = (Pairs)((Vectors::Words)pairs[v] & 0xffff);
        }
        add<rows, vectors>(weights + token, chunk_tokens, pairs, sums);
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
};

}  // namespace

void attend_paged_rounded(const PagedShape& shape, const PagedCache& cache,
                          const PagedQueries& queries, int64_t begin, int64_t end, int64_t first,
                          int64_t last) {
  attend_with<RoundedAttention>(shape, cache, queries, begin, end, first, last);
}

}  // namespace backlot::kernels

#endif
