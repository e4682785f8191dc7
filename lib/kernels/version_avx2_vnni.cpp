#if defined(__x86_64__)

#define BACKLOT_AVX_VNNI
#include "kernels/vectors_avx2.h"
// The vectors go first: the others are templates over them.
#include "kernels/decoder_rows_tiles.h"
#include "kernels/paged_attention_tiles.h"
#include "kernels/quantized_tiles.h"
#include "kernels/versions.h"

namespace backlot::kernels {

const Version avx2_vnni_version{
    .quantize_rows = quantize_rows_version,
    .quantized_linear = quantized_linear_version,
    .attend_paged = attend_paged_version,
    .rms_norm_rows = rms_norm_rows_version,
    .rotate_halves = rotate_halves_version,
    .silu_gate = silu_gate_version,
};

}  // namespace backlot::kernels

#endif
