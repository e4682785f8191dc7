#include "nn/modulation_rows.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "nn/row_values.h"

namespace backlot::rows {
namespace {

// Partial sums side by side, so that the compiler may keep them in a register's lanes.
constexpr int64_t lanes = 32;

template <class Term>
BACKLOT_INLINE float sum(int64_t width, Term term) {
  float partial[lanes] = {};
  int64_t i = 0;
  for (; i + lanes <= width; i += lanes) {
    for (int64_t lane = 0; lane < lanes; ++lane) partial[lane] += term(i + lane);
  }
  float rest = 0;
  for (; i < width; ++i) rest += term(i);
  for (int64_t half = lanes / 2; half > 0; half /= 2) {
    for (int64_t lane = 0; lane < half; ++lane) partial[lane] += partial[lane + half];
  }
  return partial[0] + rest;
}

// x + y * gate, kept as x stores it, and widened into `row`.
template <class T>
BACKLOT_INLINE void add_residual(T* __restrict x, const T* __restrict y,
                                 const float* __restrict gate, int64_t width,
                                 float* __restrict row) {
  for (int64_t i = 0; i < width; ++i) {
    narrow(widen(x[i]) + widen(y[i]) * (gate ? gate[i] : 1.0f), x + i);
    row[i] = widen(x[i]);
  }
}

template <class T>
BACKLOT_INLINE void modulate_rows(const NormRows<T>& rows) {
  thread_local std::vector<float> scratch;
  scratch.resize(rows.width);
  float* __restrict row = scratch.data();
  const int64_t width = rows.width;
  const auto share = 1.0f / static_cast<float>(width);
  for (int64_t r = 0; r < rows.count; ++r) {
    T* x = rows.x + r * width;
    if (!rows.y) {
      for (int64_t i = 0; i < width; ++i) row[i] = widen(x[i]);
    } else if (rows.gate) {
      add_residual(x, rows.y + r * width, rows.gate, width, row);
    } else {
      add_residual(x, rows.y + r * width, nullptr, width, row);
    }
    if (!rows.out) continue;
    const float mean = sum(width, [row](int64_t i) { return row[i]; }) * share;
    const float variance = sum(width,
                               [row, mean](int64_t i) {
                                 const float d = row[i] - mean;
                                 return d * d;
                               }) *
                           share;
    const float scale = 1.0f / std::sqrt(variance + rows.eps);
    T* __restrict out = rows.out + r * width;
    const float* __restrict factor = rows.factor;
    const float* __restrict shift = rows.shift;
    for (int64_t i = 0; i < width; ++i) {
      narrow((row[i] - mean) * scale * factor[i] + shift[i], out + i);
    }
  }
}

template <class T>
BACKLOT_INLINE void rotate_rows(const RotateRows<T>& rows) {
  thread_local std::vector<float> scratch;
  scratch.resize(rows.width);
  float* __restrict row = scratch.data();
  const int64_t width = rows.width;
  const auto share = 1.0f / static_cast<float>(width);
  for (int64_t r = 0; r < rows.count; ++r) {
    T* __restrict x = rows.x + r * rows.stride;
    for (int64_t i = 0; i < width; ++i) row[i] = widen(x[i]);
    const float square = sum(width, [row](int64_t i) { return row[i] * row[i]; }) * share;
    const float scale = 1.0f / std::sqrt(square + rows.eps);
    const float* __restrict weight = rows.weight;
    if (!rows.cos) {
      for (int64_t i = 0; i < width; ++i) narrow(row[i] * scale * weight[i], x + i);
      continue;
    }
    for (int64_t i = 0; i < width; ++i) row[i] *= scale * weight[i];
    for (int64_t head = 0; head < width; head += rows.head_dim) {
      const float* __restrict cos = rows.cos + r * rows.head_dim;
      const float* __restrict sin = rows.sin + r * rows.head_dim;
      for (int64_t i = 0; i < rows.head_dim; i += 2) {
        const float a = row[head + i], b = row[head + i + 1];
        narrow(a * cos[i] + b * sin[i], x + head + i);
        narrow(b * cos[i + 1] + a * sin[i + 1], x + head + i + 1);
      }
    }
  }
}

template <class T, bool silu>
BACKLOT_INLINE void unit_rows(const UnitRows<T>& rows) {
  const int64_t width = rows.width;
  const float* __restrict weight = rows.weight;
  for (int64_t r = 0; r < rows.count; ++r) {
    const T* x = rows.x + r * width;
    T* out = rows.out + r * width;
    const float square = sum(width, [x](int64_t i) { return widen(x[i]) * widen(x[i]); });
    const float scale = 1.0f / std::max(std::sqrt(square), 1e-12f);
    for (int64_t i = 0; i < width; ++i) {
      float value = widen(x[i]) * scale * weight[i];
      if constexpr (silu) value = value / (1.0f + exponential(-value));
      narrow(value, out + i);
    }
  }
}

}  // namespace

BACKLOT_CLONES void modulate(const NormRows<float>& rows) { modulate_rows(rows); }
BACKLOT_CLONES void modulate(const NormRows<uint16_t>& rows) { modulate_rows(rows); }

BACKLOT_CLONES void rms_norm_rotate(const RotateRows<float>& rows) { rotate_rows(rows); }
BACKLOT_CLONES void rms_norm_rotate(const RotateRows<uint16_t>& rows) { rotate_rows(rows); }

BACKLOT_CLONES void unit_norm(const UnitRows<float>& rows) {
  rows.silu ? unit_rows<float, true>(rows) : unit_rows<float, false>(rows);
}
BACKLOT_CLONES void unit_norm(const UnitRows<uint16_t>& rows) {
  rows.silu ? unit_rows<uint16_t, true>(rows) : unit_rows<uint16_t, false>(rows);
}

}  // namespace backlot::rows
