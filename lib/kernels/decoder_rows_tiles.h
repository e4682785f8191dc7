// The row operations for one type of vector; see versions.h.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/vector_math.h"

namespace backlot::kernels {
namespace {

BACKLOT_KERNEL_INLINE float sum_of_squares(const float* x, int64_t width) {
  constexpr int64_t step = 2 * Vectors::lanes;
  auto even = Vectors::zero(), odd = Vectors::zero();
  int64_t i = 0;
  for (; i + step <= width; i += step) {
    const auto a = Vectors::load(x + i), b = Vectors::load(x + i + Vectors::lanes);
    even = Vectors::multiply_add(a, a, even);
    odd = Vectors::multiply_add(b, b, odd);
  }
  float sum = Vectors::sum(even + odd);
  for (; i < width; ++i) sum += x[i] * x[i];
  return sum;
}

BACKLOT_KERNEL void rms_norm_rows_version(const float* x, const float* weight, float epsilon,
                                          int64_t rows, int64_t width, float* out) {
  for (int64_t row = 0; row < rows; ++row, x += width, out += width) {
    const float mean = sum_of_squares(x, width) / static_cast<float>(width);
    const float scale = 1 / std::sqrt(mean + epsilon);
    int64_t i = 0;
    for (; i + Vectors::lanes <= width; i += Vectors::lanes) {
      Vectors::store(out + i,
                     Vectors::load(x + i) * Vectors::all(scale) * Vectors::load(weight + i));
    }
    for (; i < width; ++i) out[i] = x[i] * scale * weight[i];
  }
}

BACKLOT_KERNEL void rotate_halves_version(float* x, int64_t heads, int64_t head_dim,
                                          const float* cosines, const float* sines) {
  const int64_t half = head_dim / 2;
  for (int64_t head = 0; head < heads; ++head, x += head_dim) {
    float* upper = x + half;
    int64_t i = 0;
    for (; i + Vectors::lanes <= half; i += Vectors::lanes) {
      const auto a = Vectors::load(x + i), b = Vectors::load(upper + i);
      const auto c = Vectors::load(cosines + i), s = Vectors::load(sines + i);
      Vectors::store(x + i, a * c - b * s);
      Vectors::store(upper + i, b * c + a * s);
    }
    for (; i < half; ++i) {
      const float a = x[i], b = upper[i];
      x[i] = a * cosines[i] - b * sines[i];
      upper[i] = b * cosines[i] + a * sines[i];
    }
  }
}

BACKLOT_KERNEL void silu_gate_version(const float* gate, const float* up, int64_t count,
                                      float* out) {
  int64_t i = 0;
  for (; i + Vectors::lanes <= count; i += Vectors::lanes) {
    Vectors::store(out + i, silu(Vectors::load(gate + i)) * Vectors::load(up + i));
  }
  if (i == count) return;
  float last[2][Vectors::lanes] = {};
  for (int64_t j = i; j < count; ++j) last[0][j - i] = gate[j], last[1][j - i] = up[j];
  Vectors::store(last[0], silu(Vectors::load(last[0])) * Vectors::load(last[1]));
  for (int64_t j = i; j < count; ++j) out[j] = last[0][j - i];
}

}  // namespace
}  // namespace backlot::kernels
