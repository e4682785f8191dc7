// The instruction sets that the kernels under a language model are written for. Each kernel takes
// one, by default the best that this CPU has; tests ask for the others.
#pragma once

#include <span>

namespace backlot::kernels {

enum class Isa {
  portable,     // what the compiler makes of plain vectors, on any CPU
  avx2,         // with fused multiply-adds and conversions from float16
  avx2_vnni,    // and dot products of bytes (AVX-VNNI)
  avx512_vnni,  // AVX-512 F, BW, VL, DQ, with dot products of bytes
};

// Those that this CPU can run, the best last.
std::span<const Isa> supported_isas();
Isa best_isa();

}  // namespace backlot::kernels
