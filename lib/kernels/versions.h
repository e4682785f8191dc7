// The versions of each kernel, one table an instruction set. What they share is in templates
// (*_tiles.h) over a type of vector (vectors_*.h); each version is compiled in a file of its own.
#pragma once

#include "kernels/decoder_rows.h"
#include "kernels/isa.h"
#include "kernels/paged_attention.h"
#include "kernels/quantized.h"

namespace backlot::kernels {

struct Version {
  void (*quantize_rows)(const QuantizedShape&, const float* x, int64_t stride,
                        const QuantizedRows& to, int64_t begin, int64_t end);
  void (*quantized_linear)(const QuantizedShape&, const std::byte* packed, const QuantizedRows&,
                           const QuantizedOut&, int64_t begin, int64_t end, int64_t first,
                           int64_t last);
  void (*attend_paged)(const PagedShape&, const PagedCache&, const PagedQueries&, int64_t begin,
                       int64_t end, int64_t first, int64_t last);
  void (*rms_norm_rows)(const float* x, const float* weight, float epsilon, int64_t rows,
                        int64_t width, float* out);
  void (*rotate_halves)(float* x, int64_t heads, int64_t head_dim, const float* cosines,
                        const float* sines);
  void (*silu_gate)(const float* gate, const float* up, int64_t count, float* out);
};

// The version for `isa`, one of supported_isas().
const Version& version_for(Isa isa);

extern const Version portable_version;
#if defined(__x86_64__)
extern const Version avx2_version, avx2_vnni_version, avx512_vnni_version;

// For shapes with rounded_dots, where has_bfloat16_dot().
void attend_paged_rounded(const PagedShape&, const PagedCache&, const PagedQueries&, int64_t begin,
                          int64_t end, int64_t first, int64_t last);
#endif

}  // namespace backlot::kernels
