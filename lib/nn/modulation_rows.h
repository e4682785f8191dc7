// The row kernels under nn/modulation.h, on plain pointers. Values are float, or bfloat16 as its
// upper 16 bits.
#pragma once

#include <cstdint>

namespace backlot::rows {

// What modulated_norm() does to `count` contiguous rows of `width` values that share factor, shift
// and gate. y: rows to be added to x, or null; gate: [width], or null for 1.
template <class T>
struct NormRows {
  T* x;
  const T* y;
  T* out;  // null: x + y * gate is all that is asked for
  const float *gate, *factor, *shift;
  int64_t count, width;
  float eps;
};

void modulate(const NormRows<float>& rows);
void modulate(const NormRows<uint16_t>& rows);

// What rms_norm_rotated() does, in place, to rows that are `stride` values apart. cos, sin:
// [count, head_dim], or null.
template <class T>
struct RotateRows {
  T* x;
  const float* weight;  // [width]
  const float *cos, *sin;
  int64_t count, width, stride, head_dim;
  float eps;
};

void rms_norm_rotate(const RotateRows<float>& rows);
void rms_norm_rotate(const RotateRows<uint16_t>& rows);

// out = x / max(|x|, 1e-12) * weight for rows of `width` values, then y / (1 + exp(-y)) if asked
// for; |x| is the Euclidean norm of a row. out may be x.
template <class T>
struct UnitRows {
  const T* x;
  T* out;
  const float* weight;
  int64_t count, width;
  bool silu;
};

void unit_norm(const UnitRows<float>& rows);
void unit_norm(const UnitRows<uint16_t>& rows);

}  // namespace backlot::rows
