// Functions of whatever vector the file that includes this has chosen (vectors_*.h goes before).
#pragma once

namespace backlot::kernels {
namespace {

// To the nearest whole number, for values below 2^22.
BACKLOT_KERNEL_INLINE Vectors::Floats nearest(Vectors::Floats x) {
  const auto large = Vectors::all(12582912.0f);
  return (x + large) - large;
}

// Cephes' expf: argument reduced by multiples of ln 2, then a polynomial. Within 2e-7 of exp(x)
// relatively from -87 to 88; beyond, the value there.
BACKLOT_KERNEL_INLINE Vectors::Floats exponential(Vectors::Floats x) {
  using Words = Vectors::Words;
  x = Vectors::min(Vectors::max(x, Vectors::all(-87.0f)), Vectors::all(88.0f));
  const auto n = nearest(x * Vectors::all(1.44269504088896341f));
  auto r = Vectors::multiply_add(n, Vectors::all(-0.693359375f), x);
  r = Vectors::multiply_add(n, Vectors::all(2.12194440e-4f), r);
  auto p = Vectors::all(1.9875691500e-4f);
  p = Vectors::multiply_add(p, r, Vectors::all(1.3981999507e-3f));
  p = Vectors::multiply_add(p, r, Vectors::all(8.3334519073e-3f));
  p = Vectors::multiply_add(p, r, Vectors::all(4.1665795894e-2f));
  p = Vectors::multiply_add(p, r, Vectors::all(1.6666665459e-1f));
  p = Vectors::multiply_add(p, r, Vectors::all(5.0000001201e-1f));
  p = Vectors::multiply_add(p * r, r, r) + Vectors::all(1.0f);
  // n fits the exponent: adds it there.
  const auto exponent = (Words)(n + Vectors::all(12582912.0f)) << 23;
  return (Vectors::Floats)((Words)p + exponent);
}

BACKLOT_KERNEL_INLINE Vectors::Floats silu(Vectors::Floats x) {
  return x / (Vectors::all(1.0f) + exponential(Vectors::zero() - x));
}

}  // namespace
}  // namespace backlot::kernels
