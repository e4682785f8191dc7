// The micro-kernel under the bfloat16 matrix products: rows of A against a panel of columns of B,
// sums in float32 registers until the last product, then an epilogue.
//
// A panel holds 16, 32, 48 or 64 columns as [k / 2][columns][2]: the pairs that vdpbf16ps takes.
#pragma once

#include "kernels/bfloat16.h"

namespace backlot::kernels {

// Rows at a time, so that sums, a row of the panel and a value of A fill the 32 registers.
constexpr int rows_at_once(int vectors) { return vectors == 4 ? 6 : vectors == 3 ? 8 : 12; }

template <int rows, int vectors, class Epilogue>
BACKLOT_AVX512_BF16_INLINE void multiply_tile(const bfloat16* a, int64_t a_stride,
                                              const bfloat16* panel, int64_t pairs,
                                              const Epilogue& epilogue, int64_t row) {
  __m512 sums[rows][vectors];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) sums[r][v] = _mm512_setzero_ps();
  }
  for (int64_t pair = 0; pair < pairs; ++pair) {
    __m512bh b[vectors];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) b[v] = load_pairs(panel + 2 * lanes * v);
    panel += 2 * lanes * vectors;
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      const auto x = repeat_pair(a + r * a_stride + 2 * pair);
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) sums[r][v] = _mm512_dpbf16_ps(sums[r][v], x, b[v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) epilogue.template store_row<vectors>(row + r, sums[r]);
}

template <int rows, int vectors, class Epilogue>
BACKLOT_AVX512_BF16_INLINE void multiply_last_rows(const bfloat16* a, int64_t a_stride,
                                                   const bfloat16* panel, int64_t pairs,
                                                   const Epilogue& epilogue, int64_t row,
                                                   int64_t count) {
  if constexpr (rows > 0) {
    if (count == rows) {
      multiply_tile<rows, vectors>(a, a_stride, panel, pairs, epilogue, row);
    } else {
      multiply_last_rows<rows - 1, vectors>(a, a_stride, panel, pairs, epilogue, row, count);
    }
  }
}

// a: `count` rows of 2 * pairs values, a_stride values apart. Row r of the product goes to
// epilogue.store_row<vectors>(r, sums).
template <int vectors, class Epilogue>
BACKLOT_AVX512_BF16_INLINE void multiply_panel(const bfloat16* a, int64_t a_stride, int64_t count,
                                               const bfloat16* panel, int64_t pairs,
                                               const Epilogue& epilogue) {
  constexpr int rows = rows_at_once(vectors);
  int64_t row = 0;
  for (; row + rows <= count; row += rows) {
    multiply_tile<rows, vectors>(a + row * a_stride, a_stride, panel, pairs, epilogue, row);
  }
  multiply_last_rows<rows - 1, vectors>(a + row * a_stride, a_stride, panel, pairs, epilogue, row,
                                        count - row);
}

// Calls work.template operator()<vectors>() for a panel of that many columns.
template <class Work>
BACKLOT_AVX512_BF16_INLINE void with_vectors(int64_t width, const Work& work) {
  switch (width / lanes) {
    case 1:
      return work.template run<1>();
    case 2:
      return work.template run<2>();
    case 3:
      return work.template run<3>();
    default:
      return work.template run<4>();
  }
}

}  // namespace backlot::kernels
