#include <ATen/ATen.h>

#include <algorithm>

#include "models/autoencoder_kl_wan.h"
#include "nn/blend.h"

namespace backlot {
namespace {

// diffusers' defaults, in pixels.
constexpr int64_t tile = 256, stride = 192;

}  // namespace

// A tile runs through the whole clip before the next. What its convolutions keep of the past would
// otherwise be in memory for all tiles: with their overlaps 1.8 pictures' worth, at 832x480 more
// than what is saved. Decoded frames are far smaller, and on a GPU they wait in the host's memory.
void AutoencoderKLWan::decode_tiled(const Tensor& z, const FrameSink& sink,
                                    const std::function<void()>& between) const {
  const int64_t factor = config_.scale_factor_spatial();
  const int64_t side = tile / factor, step = stride / factor;  // in latent pixels
  const int64_t height = z.size(3), width = z.size(4);
  if (side < 2 || step < 1 || (height <= side && width <= side)) {
    return decode_whole(z, sink, between);
  }
  const int64_t kept = step * factor, overlap = (side - step) * factor;
  const auto decode_tile = [&](int64_t top, int64_t left) {
    std::vector<Tensor> frames;
    decode_whole(
        z.narrow(3, top, std::min(side, height - top))
            .narrow(4, left, std::min(side, width - left)),
        [&](const Tensor& some) { frames.push_back(some); }, between);
    return at::cat(frames, 2);
  };

  Tensor clip;                // [B, 3, F, H, W], on the host
  at::Device device = at::kCPU;
  std::vector<Tensor> above;  // the lowest rows of the tiles above
  for (int64_t top = 0; top < height; top += step) {
    std::vector<Tensor> lowest;
    Tensor before;
    for (int64_t left = 0; left < width; left += step) {
      auto decoded = decode_tile(top, left);
      if (!clip.defined()) {
        device = decoded.device();
        clip = at::empty({z.size(0), 3, decoded.size(2), height * factor, width * factor},
                         decoded.options().device(at::kCPU));
      }
      if (top > 0) blend_edges(above[lowest.size()], decoded, 3, overlap);
      if (left > 0) blend_edges(before, decoded, 4, overlap);
      const int64_t rows = std::min(kept, decoded.size(3)),
                    columns = std::min(kept, decoded.size(4));
      clip.narrow(3, top * factor, rows)
          .narrow(4, left * factor, columns)
          .copy_(decoded.narrow(3, 0, rows).narrow(4, 0, columns));
      const int64_t low = std::min(overlap, decoded.size(3));
      lowest.push_back(decoded.narrow(3, decoded.size(3) - low, low).clone());
      before = decoded;
    }
    above = std::move(lowest);
  }
  for (int64_t at = 0; at < clip.size(2);) {
    const int64_t count = at == 0 ? 1 : config_.scale_factor_temporal();
    sink(clip.narrow(2, at, count).to(device));
    at += count;
  }
}

}  // namespace backlot
