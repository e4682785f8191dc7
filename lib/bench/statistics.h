// Repeated measurements in a few numbers.
#pragma once

#include <cstddef>
#include <vector>

namespace backlot {

// The spread is given twice: least and most say what was seen, the median absolute deviation says
// how far a typical run lies from the median and does not care about one that was disturbed.
struct Summary {
  size_t count = 0;
  double median = 0, least = 0, most = 0;
  double mad = 0;  // median of |value - median|

  // What the standard deviation would be, were the values normally distributed.
  double deviation() const { return 1.4826 * mad; }
};

// All zero for no values.
Summary summarise(std::vector<double> values);

double median(std::vector<double> values);  // 0 for no values

}  // namespace backlot
