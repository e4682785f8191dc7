// The stages of an item's making, and the buckets that their seconds are counted in.
#pragma once

#include <array>

#include "run/journal.h"

namespace backlot {

// Upper bounds in seconds: from a pocket model's decode to a long clip.
inline constexpr std::array stage_seconds_bounds = {0.01, 0.03, 0.1,   0.3,   1.0,   3.0,
                                                    10.0, 30.0, 100.0, 300.0, 1000.0};

struct Stage {
  const char* name;
  double Attempt::*seconds;
};
inline constexpr std::array stages = {
    Stage{"text_encode", &Attempt::text_encode}, Stage{"denoise", &Attempt::denoise},
    Stage{"decode", &Attempt::decode}, Stage{"write", &Attempt::write}};

}  // namespace backlot
