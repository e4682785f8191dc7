// A benchmark's pictures as SVG, to stand inside a page. Colours come from the page's classes.
#pragma once

#include <string>
#include <vector>

#include "bench/results.h"

namespace backlot {

// One kernel of a roofline.
struct RooflineDot {
  std::string label, network;  // dots of one network share a colour
  double flops_per_byte = 0, flops_per_second = 0;
  double share = 0;    // of its network's time, 0 to 1: the dot's area
  double seconds = 0;  // of all its calls: who gets a label first
  std::string facts;   // shown while pointed at
};

// Achieved FLOP/s over arithmetic intensity, both axes logarithmic, under the two ceilings. `width`
// in pixels decides the layout, so that a telephone gets letters as large as a desktop.
std::string roofline_svg(const MeasuredCeiling& ceiling, const std::vector<RooflineDot>& dots,
                         int width);

// A row for each track; steps stand under their stages.
std::string timeline_svg(const Timeline& timeline, int width);

}  // namespace backlot
