#include "nn/blend.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

namespace backlot {

void blend_edges(const at::Tensor& neighbour, at::Tensor& tile, int64_t dim, int64_t extent) {
  extent = std::min({neighbour.size(dim), tile.size(dim), extent});
  if (extent == 0) return;
  std::vector<int64_t> shape(tile.dim(), 1);
  shape[dim] = extent;
  const auto fade = at::arange(extent, tile.options().dtype(at::kDouble)).div_(extent);
  const auto rising = fade.to(tile.scalar_type()).view(shape);
  const auto falling = (1 - fade).to(tile.scalar_type()).view(shape);
  auto seam = tile.narrow(dim, 0, extent);
  seam.copy_(neighbour.narrow(dim, neighbour.size(dim) - extent, extent) * falling + seam * rising);
}

}  // namespace backlot
