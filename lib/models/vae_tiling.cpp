#include <ATen/ATen.h>

#include "models/autoencoder_kl.h"
#include "nn/blend.h"

namespace backlot {
namespace {

constexpr double overlap = 0.25;

}  // namespace

Tensor AutoencoderKL::decode_tiled(const Tensor& z,
                                   const std::function<void()>& between_tiles) const {
  const int64_t tile = config_.sample_size / config_.reduction();  // in latent pixels
  if (tile < 2 || (z.size(2) <= tile && z.size(3) <= tile)) return decode(z);
  const auto stride = static_cast<int64_t>(static_cast<double>(tile) * (1 - overlap));
  const auto extent = static_cast<int64_t>(static_cast<double>(config_.sample_size) * overlap);
  const int64_t kept = config_.sample_size - extent;  // of each tile, in picture pixels

  std::vector<Tensor> rows, above;
  for (int64_t i = 0; i < z.size(2); i += stride) {
    std::vector<Tensor> row, cut;
    for (int64_t j = 0; j < z.size(3); j += stride) {
      auto decoded = decode(z.narrow(2, i, std::min(tile, z.size(2) - i))
                                .narrow(3, j, std::min(tile, z.size(3) - j)));
      between_tiles();
      if (i > 0) blend_edges(above[row.size()], decoded, 2, extent);
      if (j > 0) blend_edges(row.back(), decoded, 3, extent);
      row.push_back(decoded);
      cut.push_back(decoded.narrow(2, 0, std::min(kept, decoded.size(2)))
                        .narrow(3, 0, std::min(kept, decoded.size(3))));
    }
    rows.push_back(at::cat(cut, 3));
    above = std::move(row);
  }
  return at::cat(rows, 2);
}

}  // namespace backlot
