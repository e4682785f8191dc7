// GroupNorm with an optional SiLU after it, for channels-last bfloat16 on a CPU: torch's own
// backward takes most of a training step. x, y, dx, dy: [N, P, C]; st: mean and 1/deviation of each
// [N, G].
#include <cmath>
#include <cstdint>
#include <vector>
typedef uint16_t h;
static inline float f(h x) {
  uint32_t u = (uint32_t)x << 16;
  float r;
  __builtin_memcpy(&r, &u, 4);
  return r;
}
static inline h b(float x) {
  uint32_t u;
  __builtin_memcpy(&u, &x, 4);
  u += 0x7fff + ((u >> 16) & 1);
  return u >> 16;
}
extern "C" void gn_fwd(const h* __restrict x, const float* __restrict w, const float* __restrict bi,
                       h* __restrict y, float* __restrict st, long N, long P, int C, int G,
                       float eps, int silu) {
  std::vector<float> s(C), q(C), A(C), B(C);
  int D = C / G;
  for (long n = 0; n < N; n++) {
    const h* X = x + n * P * C;
    h* Y = y + n * P * C;
    for (int c = 0; c < C; c++) s[c] = q[c] = 0;
    float *S = s.data(), *Q = q.data(), *a = A.data(), *o = B.data();
    for (long p = 0; p < P; p++)
      for (int c = 0; c < C; c++) {
        float v = f(X[p * C + c]);
        S[c] += v;
        Q[c] += v * v;
      }
    for (int g = 0; g < G; g++) {
      double m = 0, v = 0;
      for (int c = g * D; c < g * D + D; c++) {
        m += S[c];
        v += Q[c];
      }
      m /= (double)P * D;
      v = v / ((double)P * D) - m * m;
      if (v < 0) v = 0;
      float r = 1 / sqrt(v + eps);
      st[(n * G + g) * 2] = m;
      st[(n * G + g) * 2 + 1] = r;
      for (int c = g * D; c < g * D + D; c++) {
        a[c] = w[c] * r;
        o[c] = bi[c] - (float)m * r * w[c];
      }
    }
    if (silu)
      for (long p = 0; p < P; p++)
        for (int c = 0; c < C; c++) {
          float v = a[c] * f(X[p * C + c]) + o[c];
          Y[p * C + c] = b(v / (1.f + expf(-v)));
        }
    else
      for (long p = 0; p < P; p++)
        for (int c = 0; c < C; c++) Y[p * C + c] = b(a[c] * f(X[p * C + c]) + o[c]);
  }
}
extern "C" void gn_bwd(const h* __restrict x, const float* __restrict w, const float* __restrict bi,
                       const float* __restrict st, const h* __restrict dy, h* __restrict dx,
                       float* __restrict dw, float* __restrict db, long N, long P, int C, int G,
                       int silu) {
  std::vector<float> s(C), q(C), A(C), B(C), E(C);
  int D = C / G;
  for (int c = 0; c < C; c++) dw[c] = db[c] = 0;
  for (long n = 0; n < N; n++) {
    const h* X = x + n * P * C;
    const h* Y = dy + n * P * C;
    h* O = dx + n * P * C;
    float *S = s.data(), *Q = q.data(), *a = A.data(), *o = B.data(), *e = E.data();
    for (int c = 0; c < C; c++) {
      S[c] = Q[c] = 0;
      float m = st[(n * G + c / D) * 2], r = st[(n * G + c / D) * 2 + 1];
      a[c] = w[c] * r;
      o[c] = bi[c] - m * r * w[c];
    }
    for (long p = 0; p < P; p++)
      for (int c = 0; c < C; c++) {
        float xv = f(X[p * C + c]), g = f(Y[p * C + c]);
        if (silu) {
          float v = a[c] * xv + o[c], k = 1.f / (1.f + expf(-v));
          g *= k * (1.f + v * (1.f - k));
        }
        S[c] += g;
        Q[c] += g * xv;
        O[p * C + c] = b(g);
      }
    for (int g = 0; g < G; g++) {
      float m = st[(n * G + g) * 2], r = st[(n * G + g) * 2 + 1];
      double m1 = 0, m2 = 0;
      for (int c = g * D; c < g * D + D; c++) {
        float gx = (Q[c] - m * S[c]) * r;
        dw[c] += gx;
        db[c] += S[c];
        m1 += w[c] * S[c];
        m2 += w[c] * gx;
      }
      m1 /= (double)P * D;
      m2 /= (double)P * D;
      for (int c = g * D; c < g * D + D; c++) {
        e[c] = -r * r * m2;
        o[c] = -r * m1 + r * r * m * m2;
      }
    }
    for (long p = 0; p < P; p++)
      for (int c = 0; c < C; c++)
        O[p * C + c] = b(a[c] * f(O[p * C + c]) + e[c] * f(X[p * C + c]) + o[c]);
  }
}
