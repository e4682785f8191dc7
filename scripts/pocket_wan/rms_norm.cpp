// Wan's RMS norm over the channels with a SiLU after it, for channels-last bfloat16 on a CPU: in
// torch's own operations it takes longer than the convolutions around it. x, y, dy, dx: [P, C];
// gamma, dgamma: [C] in float32.
#include <cmath>
#include <cstdint>

namespace {

float widen(uint16_t x) {
  uint32_t bits = (uint32_t)x << 16;
  float wide;
  __builtin_memcpy(&wide, &bits, 4);
  return wide;
}

uint16_t narrow(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, 4);
  bits += 0x7fff + ((bits >> 16) & 1);
  return bits >> 16;
}

template <int C>
void forward(const uint16_t* x, const float* gamma, uint16_t* y, long pixels) {
  for (long p = 0; p < pixels; ++p, x += C, y += C) {
    float squares = 1e-12f;
    for (int c = 0; c < C; ++c) squares += widen(x[c]) * widen(x[c]);
    const float scale = std::sqrt(C / squares);
    for (int c = 0; c < C; ++c) {
      const float v = widen(x[c]) * scale * gamma[c];
      y[c] = narrow(v / (1 + std::exp(-v)));
    }
  }
}

template <int C>
void backward(const uint16_t* x, const float* gamma, const uint16_t* dy, uint16_t* dx,
              float* dgamma, long pixels) {
  float sums[C] = {};
  for (long p = 0; p < pixels; ++p, x += C, dy += C, dx += C) {
    float squares = 1e-12f;
    for (int c = 0; c < C; ++c) squares += widen(x[c]) * widen(x[c]);
    const float scale = std::sqrt(C / squares);
    float du[C];
    float along = 0;
    for (int c = 0; c < C; ++c) {
      const float unit = widen(x[c]) * scale;
      const float v = unit * gamma[c];
      const float sigmoid = 1 / (1 + std::exp(-v));
      const float dv = widen(dy[c]) * sigmoid * (1 + v * (1 - sigmoid));
      sums[c] += dv * unit;
      du[c] = dv * gamma[c];
      along += du[c] * widen(x[c]);
    }
    along /= squares;
    for (int c = 0; c < C; ++c) dx[c] = narrow(scale * (du[c] - widen(x[c]) * along));
  }
  for (int c = 0; c < C; ++c) dgamma[c] = sums[c];
}

template <int... Widths>
struct ForWidths {
  template <class F>
  static int call(int channels, F f) {
    return ((channels == Widths ? (f.template operator()<Widths>(), 1) : 0) | ...);
  }
};
using Known = ForWidths<8, 16, 24, 32, 48, 64>;

}  // namespace

// Both return 0 for a number of channels that they were not compiled for.
extern "C" int rms_forward(const uint16_t* x, const float* gamma, uint16_t* y, long pixels,
                           int channels) {
  return Known::call(channels, [&]<int C>() { forward<C>(x, gamma, y, pixels); });
}

extern "C" int rms_backward(const uint16_t* x, const float* gamma, const uint16_t* dy, uint16_t* dx,
                            float* dgamma, long pixels, int channels) {
  return Known::call(channels, [&]<int C>() { backward<C>(x, gamma, dy, dx, dgamma, pixels); });
}
