#include "kernels/isa.h"

#include <vector>

#include "kernels/versions.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace backlot::kernels {
namespace {

#if defined(__x86_64__)
bool has_avx2() {
  // Leaf 1, ecx bit 29: conversions from float16; gcc 12 has no name for them here.
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx >> 29 & 1);
}

bool has_avx_vnni() {
  // Leaf 7, subleaf 1, eax bit 4.
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax >> 4 & 1);
}

bool has_avx512_vnni() {
  return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
#endif

std::vector<Isa> find_isas() {
  std::vector<Isa> found{Isa::portable};
#if defined(__x86_64__)
  if (has_avx2()) {
    found.push_back(Isa::avx2);
    if (has_avx_vnni()) found.push_back(Isa::avx2_vnni);
    if (has_avx512_vnni()) found.push_back(Isa::avx512_vnni);
  }
#endif
  return found;
}

}  // namespace

std::span<const Isa> supported_isas() {
  static const std::vector<Isa> found = find_isas();
  return found;
}

Isa best_isa() { return supported_isas().back(); }

const Version& version_for(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::avx2:
      return avx2_version;
    case Isa::avx2_vnni:
      return avx2_vnni_version;
    case Isa::avx512_vnni:
      return avx512_vnni_version;
#endif
    default:
      return portable_version;
  }
}

}  // namespace backlot::kernels
