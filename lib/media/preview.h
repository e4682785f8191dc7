// Pictures small enough to travel in a line of text.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "engine/engine.h"

namespace backlot {

constexpr int64_t preview_side = 64;  // pixels, at most: a few KiB as a PNG

// `picture` with its longer side brought down to `longest` pixels, each the mean of what it covers.
// Smaller pictures stay as they are.
Picture shrink(const Picture& picture, int64_t longest);

// "data:image/png;base64,…" of the picture, shrunk to preview_side.
std::string preview_uri(const Picture& picture);

// "data:image/webp;base64,…": the frames shrunk likewise, playing again and again. Some KiB for a
// few frames. At least one frame, all of one size.
std::string animated_preview_uri(std::span<const Picture> frames, double frames_per_second);

}  // namespace backlot
