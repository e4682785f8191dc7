// Pictures to test with.
#pragma once

#include <cmath>
#include <cstdint>

#include "engine/engine.h"

namespace backlot {

// Waves of colour with fine grain, so that no codec gets it for free; the same on every call.
inline Picture waves(int64_t width, int64_t height) {
  Picture out{width, height, {}};
  uint32_t state = 1;
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (int64_t c = 0; c < 3; ++c) {
        state = state * 1664525u + 1013904223u;
        const double grain = static_cast<double>(state >> 29);
        const double wave = 100 * std::sin(0.11 * static_cast<double>(x * (c + 1))) *
                            std::cos(0.07 * static_cast<double>(y));
        out.rgb.push_back(static_cast<uint8_t>(124 + wave + grain));
      }
    }
  }
  return out;
}

// Mean of the absolute differences of all channels, in 1/255.
inline double difference(const Picture& a, const Picture& b) {
  if (a.width != b.width || a.height != b.height || a.rgb.size() != b.rgb.size()) return 255;
  double sum = 0;
  for (size_t i = 0; i < a.rgb.size(); ++i) sum += std::abs(a.rgb[i] - b.rgb[i]);
  return sum / static_cast<double>(a.rgb.size());
}

}  // namespace backlot
