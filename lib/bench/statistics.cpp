#include "bench/statistics.h"

#include <algorithm>
#include <cmath>

namespace backlot {

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  const size_t middle = values.size() / 2;
  return values.size() % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

Summary summarise(std::vector<double> values) {
  Summary summary{.count = values.size()};
  if (values.empty()) return summary;
  const auto [least, most] = std::ranges::minmax_element(values);
  summary.least = *least;
  summary.most = *most;
  summary.median = median(values);
  for (double& value : values) value = std::abs(value - summary.median);
  summary.mad = median(std::move(values));
  return summary;
}

}  // namespace backlot
