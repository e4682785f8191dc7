#include "kernels/decoder_rows.h"

#include "kernels/versions.h"

namespace backlot::kernels {

void rms_norm_rows(const float* x, const float* weight, float epsilon, int64_t rows, int64_t width,
                   float* out, Isa isa) {
  version_for(isa).rms_norm_rows(x, weight, epsilon, rows, width, out);
}

void rotate_halves(float* x, int64_t heads, int64_t head_dim, const float* cosines,
                   const float* sines, Isa isa) {
  version_for(isa).rotate_halves(x, heads, head_dim, cosines, sines);
}

void silu_gate(const float* gate, const float* up, int64_t count, float* out, Isa isa) {
  version_for(isa).silu_gate(gate, up, count, out);
}

}  // namespace backlot::kernels
