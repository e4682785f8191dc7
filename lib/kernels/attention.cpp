#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/gemm.h"
#include "kernels/math.h"

namespace backlot::kernels {
namespace {

constexpr int64_t block = 512;  // keys at a time: scores of all queries then fit the second cache

struct StoreScores {
  template <int vectors>
  BACKLOT_AVX512_BF16_INLINE void store_row(int64_t row, const __m512 (&sums)[vectors]) const {
    for (int v = 0; v < vectors; ++v) store(out + row * block + lanes * v, sums[v]);
  }
  float* out;
};

// What earlier blocks gave shrinks as the largest score grows.
struct AddWeighted {
  template <int vectors>
  BACKLOT_AVX512_BF16_INLINE void store_row(int64_t row, const __m512 (&sums)[vectors]) const {
    float* at = out + row * stride;
    const auto kept = _mm512_set1_ps(shrink[row]);
    for (int v = 0; v < vectors; ++v) {
      store(at + lanes * v, _mm512_fmadd_ps(load(at + lanes * v), kept, sums[v]));
    }
  }
  float* out;
  int64_t stride;
  const float* shrink;
};

template <class Epilogue>
struct Multiply {
  template <int vectors>
  BACKLOT_AVX512_BF16_INLINE void run() const {
    multiply_panel<vectors>(a, a_stride, rows, panel, pairs, epilogue);
  }
  const bfloat16* a;
  int64_t a_stride, rows;
  const bfloat16* panel;
  int64_t pairs;
  Epilogue epilogue;
};

// One block of queries on its way through the blocks of keys. Kept by each thread: the memory of a
// core's own caches.
struct Scratch {
  void prepare(int64_t rows, int64_t width) {
    scores.resize(queries_at_once * block);
    weights.resize(queries_at_once * block);
    out.assign(rows * width, 0.0f);
    std::fill_n(largest, rows, -std::numeric_limits<float>::infinity());
    std::fill_n(sum, rows, 0.0f);
  }
  std::vector<float> scores, out;
  std::vector<bfloat16> weights;
  float largest[queries_at_once], sum[queries_at_once], shrink[queries_at_once];
};

BACKLOT_AVX512_BF16_INLINE __mmask16 mask_of(int64_t count) {
  return count >= lanes ? __mmask16(0xffff) : __mmask16((1u << count) - 1);
}

// Scores of `valid` keys become weights, those of padding up to `count` zeros.
BACKLOT_AVX512_BF16_INLINE void weigh_row(Scratch& scratch, int64_t row, int64_t valid,
                                          int64_t count, float scale) {
  const float* scores = scratch.scores.data() + row * block;
  bfloat16* weights = scratch.weights.data() + row * block;
  auto most = _mm512_set1_ps(scratch.largest[row]);
  for (int64_t i = 0; i < valid; i += lanes) {
    most = _mm512_mask_max_ps(most, mask_of(valid - i), most, load(scores + i));
  }
  const float largest = _mm512_reduce_max_ps(most);
  const auto top = _mm512_set1_ps(largest), factor = _mm512_set1_ps(scale);
  auto sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < count; i += lanes) {
    const auto weight = _mm512_maskz_mov_ps(mask_of(std::max<int64_t>(valid - i, 0)),
                                            exponential((load(scores + i) - top) * factor));
    sum += weight;
    store(weights + i, weight);
  }
  const float before = scratch.largest[row];
  scratch.shrink[row] = std::isinf(before) ? 0.0f : std::exp((before - largest) * scale);
  scratch.sum[row] = scratch.sum[row] * scratch.shrink[row] + _mm512_reduce_add_ps(sum);
  scratch.largest[row] = largest;
}

// Lays `width` rows of `in` values out as a panel's columns; rows from `valid` on are zeros.
void pack_panel(const bfloat16* rows, int64_t stride, int64_t in, int64_t width, int64_t valid,
                bfloat16* panel) {
  const int64_t kept = std::min(width, valid);
  for (int64_t pair = 0; pair < in / 2; ++pair, panel += 2 * width) {
    for (int64_t i = 0; i < kept; ++i) {
      std::memcpy(panel + 2 * i, rows + i * stride + 2 * pair, 2 * sizeof(bfloat16));
    }
    std::fill(panel + 2 * kept, panel + 2 * width, bfloat16{0});
  }
}

}  // namespace

void pack_keys(const AttentionShape& shape, const bfloat16* keys, bfloat16* packed) {
  for (int64_t first = 0; first < shape.padded_keys(); first += columns) {
    pack_panel(keys + first * shape.kv_stride, shape.kv_stride, shape.width,
               std::min(columns, shape.padded_keys() - first), shape.keys - first,
               packed + first * shape.width);
  }
}

void pack_values(const AttentionShape& shape, const bfloat16* values, bfloat16* packed) {
  const int64_t keys = shape.padded_keys();
  for (int64_t first = 0; first < shape.width; first += columns) {
    const int64_t width = std::min(columns, shape.width - first);
    auto* panel = packed + first * keys;
    for (int64_t key = 0; key < keys; ++key) {
      auto* to = panel + key / 2 * 2 * width + key % 2;
      const auto* from = values + key * shape.kv_stride + first;
      for (int64_t i = 0; i < width; ++i) to[2 * i] = key < shape.keys ? from[i] : bfloat16{0};
    }
  }
}

BACKLOT_AVX512_BF16 void attend(const AttentionShape& shape, const bfloat16* q,
                                const bfloat16* keys, const bfloat16* values, bfloat16* out,
                                int64_t begin, int64_t end) {
  thread_local Scratch scratch;
  const int64_t rows = end - begin, width = shape.width, padded = shape.padded_keys();
  const float scale = 1 / std::sqrt(static_cast<float>(width));
  scratch.prepare(rows, width);
  const auto* queries = q + begin * shape.q_stride;
  for (int64_t first = 0; first < padded; first += block) {
    const int64_t count = std::min(block, padded - first);
    for (int64_t at = 0; at < count; at += columns) {
      with_vectors(std::min(columns, count - at),
                   Multiply<StoreScores>{queries, shape.q_stride, rows, keys + (first + at) * width,
                                         width / 2, StoreScores{scratch.scores.data() + at}});
    }
    for (int64_t row = 0; row < rows; ++row) {
      weigh_row(scratch, row, std::min(count, shape.keys - first), count, scale);
    }
    for (int64_t at = 0; at < width; at += columns) {
      const int64_t panel_width = std::min(columns, width - at);
      with_vectors(panel_width, Multiply<AddWeighted>{
                                    scratch.weights.data(), block, rows,
                                    values + at * padded + first * panel_width, count / 2,
                                    AddWeighted{scratch.out.data() + at, width, scratch.shrink}});
    }
  }
  for (int64_t row = 0; row < rows; ++row) {
    const auto share = _mm512_set1_ps(1 / scratch.sum[row]);
    for (int64_t i = 0; i < width; i += lanes) {
      store(out + (begin + row) * shape.out_stride + i,
            load(scratch.out.data() + row * width + i) * share);
    }
  }
}

}  // namespace backlot::kernels
