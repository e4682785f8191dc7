// A benchmark as one page: no network, no scripts.
#pragma once

#include <optional>
#include <string>

#include "bench/compare.h"
#include "bench/results.h"

namespace backlot {

std::string bench_html(const BenchResults& results, const std::optional<Comparison>& comparison);

}  // namespace backlot
