#include "kernels/bfloat16.h"

#include <cpuid.h>

namespace backlot::kernels {

bool has_bfloat16_dot() {
  static const bool found =
      __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  return found;
}

bool has_bfloat16_tiles() {
  // Leaf 7, edx: bit 22 bfloat16 tiles, bit 24 tiles at all; gcc 12 has no name for them.
  static const bool found = [] {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (edx >> 22 & 1) && (edx >> 24 & 1);
  }();
  return found;
}

}  // namespace backlot::kernels
