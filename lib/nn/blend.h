// Seams between tiles of a picture.
#pragma once

#include <ATen/core/Tensor.h>

namespace backlot {

// Fades `tile` in, in place, over the last `extent` rows or columns of its neighbour, along `dim`.
void blend_edges(const at::Tensor& neighbour, at::Tensor& tile, int64_t dim, int64_t extent);

}  // namespace backlot
