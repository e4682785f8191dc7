// The prompt weighting syntax of AUTOMATIC1111's web UI.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace backlot {

struct WeightedText {
  std::string text;
  float weight = 1;
};

// Splits a prompt into stretches of equal weight:
//   (word)      1.1            (word:1.3)  1.3            [word]      1/1.1
//   ((word))    brackets nest, weights multiply           \( \) \[ \] \\   the character itself
// A closing bracket belongs to the nearest open one of its kind; brackets without a partner are
// plain text. Weights are limited to -10 … 10. Neighbours of equal weight are one stretch, none is
// empty. Takes any text, in linear time.
std::vector<WeightedText> parse_weights(std::string_view prompt);

}  // namespace backlot
