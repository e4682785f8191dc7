// 3x3 convolutions of stride 1 and padding 1 with 2.25 times fewer multiplications: F(2x2, 3x3) of
// Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (arXiv 1509.09308). Each 2x2
// square of outputs comes from a 4x4 tile of inputs through 16 matrix products over channels.
//
// After nearest-neighbour enlargement to twice the size the third row and column of every
// transformed tile are zero: 9 products remain, a quarter of the direct convolution's work, and the
// enlarged map is never written.
//
// Values are bfloat16, sums float32. Maps are channels-last: [height, width, channels].
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/bfloat16.h"

namespace backlot::kernels {

enum class Enlarge { no, twice };

struct WinogradShape {
  int64_t in, out;        // channels: multiples of 32 and of 16
  int64_t height, width;  // of the output; with Enlarge::twice both are even
  Enlarge enlarge = Enlarge::no;
  int64_t frames = 1;  // maps, one after the other, that share the input channels: in / frames
                       // each, a multiple of 16

  int64_t products() const { return enlarge == Enlarge::twice ? 9 : 16; }
  int64_t weight_values() const { return products() * in * out; }
  int64_t tiles() const { return (height + 1) / 2 * ((width + 1) / 2); }
};

// Lays the kernels of the output channels [first, last), a multiple of `columns` and the next one
// or the end, out for winograd_tiles(). weight: [out, in, 3, 3] contiguous; packed:
// weight_values().
void pack_winograd_weight(const WinogradShape& shape, const bfloat16* weight, bfloat16* packed,
                          int64_t first, int64_t last);

struct WinogradMaps {
  const bfloat16* in;        // [frames, H, W, in / frames], H and W half of the output's with
                             // Enlarge::twice
  bfloat16* out;             // [height, width, out]
  const float* bias;         // [out]
  const bfloat16* residual;  // [height, width, out], added to the result, or null
};

// What one thread needs for `tiles` at a time.
struct WinogradScratch {
  WinogradScratch(const WinogradShape& shape, int64_t tiles)
      : inputs(shape.products() * tiles * shape.in),
        sums(std::max(shape.products() * tiles * columns, shape.in / 2)) {}
  int64_t inputs;  // bfloat16 values
  int64_t sums;    // floats; a pixel of zeros has to fit, too
};

// Output channels [columns * first_panel, columns * last_panel) of the tiles [begin, end), counted
// row by row.
void winograd_tiles(const WinogradShape& shape, const WinogradMaps& maps, const bfloat16* packed,
                    int64_t begin, int64_t end, int64_t first_panel, int64_t last_panel,
                    bfloat16* inputs, float* sums);

}  // namespace backlot::kernels
