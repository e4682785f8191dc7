// What the time of a kernel says once the device's ceilings are known.
#pragma once

#include <string>
#include <vector>

#include "bench/charts.h"
#include "bench/results.h"
#include "engine/probe.h"

namespace backlot {

// Under the roofline a kernel can reach min(peak FLOP/s, intensity * bandwidth); which of the two
// it is decides what binds it. More than the roof is no mistake: see docs/bench.md. Sets the
// figures flops_per_second, bytes_per_second, flops_per_byte, of_ceiling, and the parameter
// `bound`.
void add_roofline_figures(BenchCase& each, const KernelFigure& kernel,
                          const MeasuredCeiling& ceiling);

// Sets the figure `share` of every kernel: its calls times its median, as a part of what all the
// measured kernels of its network take.
void add_shares(std::vector<BenchCase>& cases);

// A ceiling with the kernels that were measured under it.
struct KernelRoofline {
  std::string title;
  MeasuredCeiling ceiling;
  std::vector<RooflineDot> dots;
};
std::vector<KernelRoofline> rooflines(const BenchResults& results);

// The least filters that keep every kernel whose whole name, `prefix` and its own, holds one of
// `filters`; empty: all kernels. The engine knows kernels by their own names only.
std::vector<std::string> engine_filters(const std::vector<std::string>& filters,
                                        std::string_view prefix);

}  // namespace backlot
