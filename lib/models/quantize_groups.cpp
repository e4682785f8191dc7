#include "models/quantize_groups.h"

#include <c10/util/Half.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace backlot {
namespace {

struct Line {
  float scale, min;
};

// Of groups that hold what is no number: none of their weights is one then, and it shows.
constexpr Line no_line{0.0f, std::numeric_limits<float>::quiet_NaN()};

// As float16 has it; what is beyond its range stays as it is.
float in_float16(float x) {
  const auto half = static_cast<float>(c10::Half(x));
  return std::isfinite(half) ? half : x;
}

uint8_t code_of(float x, Line line, float inverse, float largest) {
  return static_cast<uint8_t>(std::clamp(std::nearbyint((x - line.min) * inverse), 0.0f, largest));
}

float inverse_of(Line line) { return line.scale > 0 ? 1 / line.scale : 0.0f; }

double squared_error(const float* x, int group, Line line, float largest) {
  const float inverse = inverse_of(line);
  double sum = 0;
  for (int i = 0; i < group; ++i) {
    const double off =
        line.scale * static_cast<float>(code_of(x[i], line, inverse, largest)) + line.min - x[i];
    sum += off * off;
  }
  return sum;
}

Line best_line(const float* x, int group, float largest) {
  const auto [low, high] = std::minmax_element(x, x + group);
  if (!std::isfinite(*high - *low)) return no_line;  // a range beyond float32's
  constexpr float shares[] = {1.0f, 0.95f, 0.9f, 0.85f, 0.8f};
  Line best{};
  double least = INFINITY;
  for (const float share : shares) {
    const float cut = (*high - *low) * (1 - share) / 2;
    const float min = in_float16(*low + cut);
    const Line line{in_float16(std::max(*high - cut - min, 0.0f) / largest), min};
    const double error = squared_error(x, group, line, largest);
    if (error < least) {
      least = error;
      best = line;
    }
    if (largest > 15) break;  // 255 steps are fine enough
  }
  return best;
}

}  // namespace

void quantize_groups(const float* x, int64_t rows, int64_t in, int bits, int group, uint8_t* codes,
                     float* scales, float* mins) {
  const auto largest = static_cast<float>((1 << bits) - 1);
  for (int64_t i = 0; i < rows * in / group; ++i) {
    const float* values = x + i * group;
    const bool finite =
        std::all_of(values, values + group, [](float v) { return std::isfinite(v); });
    const Line line = finite ? best_line(values, group, largest) : no_line;
    const float inverse = inverse_of(line);
    for (int k = 0; k < group; ++k)
      codes[i * group + k] = code_of(values[k], line, inverse, largest);
    scales[i] = line.scale;
    mins[i] = line.min;
  }
}

}  // namespace backlot
