#include "kernels/linear.h"

#include <algorithm>

#include "kernels/gemm.h"
#include "kernels/math.h"

namespace backlot::kernels {
namespace {

struct StoreRows {
  template <int vectors>
  BACKLOT_AVX512_BF16_INLINE void store_row(int64_t row, const __m512 (&sums)[vectors]) const {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      const int64_t at = row * stride + lanes * v;
      auto value = sums[v] + load(bias + lanes * v);
      if (residual) value += load(residual + at);
      store(out + at, value);
    }
  }
  bfloat16* out;
  const bfloat16* residual;
  const float* bias;
  int64_t stride;
};

struct StoreGeluRows {
  template <int vectors>
  BACKLOT_AVX512_BF16_INLINE void store_row(int64_t row, const __m512 (&sums)[vectors]) const {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      store(out + row * stride + lanes * v, gelu_tanh(sums[v] + load(bias + lanes * v)));
    }
  }
  bfloat16* out;
  const float* bias;
  int64_t stride;
};

struct StoreGatedRows {
  template <int vectors>
  BACKLOT_AVX512_BF16_INLINE void store_row(int64_t row, const __m512 (&sums)[vectors]) const {
    constexpr int half = vectors / 2;
#pragma GCC unroll 2
    for (int v = 0; v < half; ++v) {
      const auto value = sums[v] + load(bias + lanes * v);
      store(out + row * stride + lanes * v,
            value * gelu(sums[half + v] + load(gate_bias + lanes * v)));
    }
  }
  bfloat16* out;
  const float *bias, *gate_bias;
  int64_t stride;
};

// The weight's row that is column `i` of a panel of `width` columns.
int64_t weight_row(const LinearShape& shape, int64_t panel, int64_t width, int64_t i) {
  if (shape.gate == Gate::none) return panel * columns + i;
  const int64_t half = width / 2, first = panel * columns / 2;
  return i < half ? first + i : shape.out + first + i - half;
}

template <int vectors>
BACKLOT_AVX512_BF16_INLINE void run_panel(const LinearShape& shape, const LinearRows& rows,
                                          const bfloat16* panel_weight, int64_t begin, int64_t end,
                                          int64_t panel) {
  const auto* in = rows.in + begin * shape.in;
  const auto multiply = [&](const auto& epilogue) BACKLOT_AVX512_BF16_LAMBDA {
    multiply_panel<vectors>(in, shape.in, end - begin, panel_weight, shape.in / 2, epilogue);
  };
  if (shape.activation == Activation::gelu_tanh) {
    const int64_t first = panel * columns;
    multiply(StoreGeluRows{rows.out + begin * shape.out + first, rows.bias + first, shape.out});
  } else if (shape.gate == Gate::none) {
    const int64_t first = panel * columns, at = begin * shape.out + first;
    multiply(StoreRows{rows.out + at, rows.residual ? rows.residual + at : nullptr,
                       rows.bias + first, shape.out});
  } else if constexpr (vectors % 2 == 0) {
    const int64_t first = panel * columns / 2;
    multiply(StoreGatedRows{rows.out + begin * shape.out + first, rows.bias + first,
                            rows.bias + shape.out + first, shape.out});
  }
}

struct RunPanel {
  template <int vectors>
  BACKLOT_AVX512_BF16_INLINE void run() const {
    run_panel<vectors>(shape, rows, weight, begin, end, panel);
  }
  const LinearShape& shape;
  const LinearRows& rows;
  const bfloat16* weight;
  int64_t begin, end, panel;
};

int64_t panel_width(const LinearShape& shape, int64_t panel) {
  return std::min(columns, shape.weight_rows() - panel * columns);
}

}  // namespace

void pack_linear_weight(const LinearShape& shape, const bfloat16* weight, bfloat16* packed,
                        int64_t first, int64_t last) {
  for (int64_t panel = first; panel < last; ++panel) {
    const int64_t width = panel_width(shape, panel);
    auto* to = packed + panel * columns * shape.in;
    const bfloat16* rows[columns];
    for (int64_t i = 0; i < width; ++i) {
      rows[i] = weight + weight_row(shape, panel, width, i) * shape.in;
    }
    for (int64_t pair = 0; pair < shape.in / 2; ++pair) {
      for (int64_t i = 0; i < width; ++i, to += 2) {
        std::memcpy(to, rows[i] + 2 * pair, 2 * sizeof(bfloat16));
      }
    }
  }
}

BACKLOT_AVX512_BF16 void linear_rows(const LinearShape& shape, const LinearRows& rows,
                                     const bfloat16* packed, int64_t begin, int64_t end,
                                     int64_t first, int64_t last) {
  for (int64_t panel = first; panel < last; ++panel) {
    with_vectors(panel_width(shape, panel),
                 RunPanel{shape, rows, packed + panel * columns * shape.in, begin, end, panel});
  }
}

}  // namespace backlot::kernels
