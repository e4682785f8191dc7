// Numbers for the kernels' tests: the same on every machine.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "kernels/isa.h"

namespace backlot::kernels {

inline std::string name(Isa isa) {
  switch (isa) {
    case Isa::portable:
      return "portable";
    case Isa::avx2:
      return "avx2";
    case Isa::avx2_vnni:
      return "avx2_vnni";
    case Isa::avx512_vnni:
      return "avx512_vnni";
  }
  return "?";
}

class MadeValues {
 public:
  explicit MadeValues(uint32_t seed = 1) : bits_(seed) {}

  int64_t whole(int64_t below) { return static_cast<int64_t>(bits_() % below); }
  float real(float least, float most) {
    return least + (most - least) * static_cast<float>(bits_()) / 4294967296.0f;
  }
  std::vector<float> reals(int64_t count, float least = -1, float most = 1) {
    std::vector<float> values(count);
    for (auto& value : values) value = real(least, most);
    return values;
  }

 private:
  std::mt19937 bits_;
};

}  // namespace backlot::kernels
