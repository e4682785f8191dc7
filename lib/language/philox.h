// Philox4x32-10, random numbers from a key and a counter (Salmon et al., "Parallel random numbers:
// as easy as 1, 2, 3", SC 2011): any one of them is computed alone.
#pragma once

#include <array>
#include <cstdint>

namespace backlot {

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// In [0, 1), 53 bits: that of the token at `index` of a text with this seed.
double uniform_for(uint64_t seed, uint64_t index);

}  // namespace backlot
