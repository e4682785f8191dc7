// Weights to codes of 4 or 8 bits with a scale and a minimum for each group, on loading.
#pragma once

#include <cstdint>

namespace backlot {

// x: [rows, in]; codes: [rows, in], below 2^bits; scales and mins: [rows, in / group], numbers that
// float16 holds exactly, if its range does. w = scale * code + min, not a number in groups that
// hold an infinity or what is not a number. Of some ways to cut a group's range the one with the
// least squared error is taken, as outliers cost all others precision.
void quantize_groups(const float* x, int64_t rows, int64_t in, int bits, int group, uint8_t* codes,
                     float* scales, float* mins);

}  // namespace backlot
