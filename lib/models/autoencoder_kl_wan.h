// The autoencoder between clips and latents of Wan 2.1 (also of Wan 2.2's 14B models).
//
// Reference: diffusers/models/autoencoders/autoencoder_kl_wan.py (AutoencoderKLWan), whose tensor
// names this file follows. Convolutions look two frames back and never ahead, so a clip is encoded
// and decoded a few frames at a time, and what a convolution still needs of the past are its last
// two input frames. Shape letters: B batch, Z latent channels, F frames, H and W picture, f, h, w
// latent frames and size.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "nn/layers.h"

namespace backlot {

struct AutoencoderKLWanConfig {
  int64_t base_dim = 96, decoder_base_dim = 96;
  int64_t z_dim = 16;
  std::vector<int64_t> dim_mult{1, 2, 4, 4};
  int64_t num_res_blocks = 2;
  std::vector<bool> temperal_downsample{false, true, true};  // spelled as in the files
  std::vector<double> latents_mean, latents_std;             // one a latent channel

  // Pixels a latent pixel stands for along each side, and frames a latent frame stands for.
  int64_t scale_factor_spatial() const { return int64_t{1} << (dim_mult.size() - 1); }
  int64_t scale_factor_temporal() const;

  // A clip's frames, one more than a multiple of scale_factor_temporal, to latent ones and back.
  int64_t latent_frames(int64_t frames) const { return (frames - 1) / scale_factor_temporal() + 1; }
  int64_t frames(int64_t latent_frames) const {
    return (latent_frames - 1) * scale_factor_temporal() + 1;
  }
};

// Throws LoadError naming `where` and the key; also for Wan 2.2's 5B autoencoder (is_residual).
AutoencoderKLWanConfig read_autoencoder_kl_wan_config(const Json& config, const std::string& where);

struct WanDecodeOptions {
  // In overlapping tiles of 256x256 pixels whose seams are blended, as diffusers' enable_tiling():
  // working memory for one tile, but every decoded frame is held until the last tile is done, and
  // pixels differ slightly. No effect on pictures no larger than a tile.
  bool tiled = false;

  // Called after every few frames of every tile; may throw to end the work.
  std::function<void()> between;
};

class AutoencoderKLWan {
 public:
  AutoencoderKLWan(const Weights& w, const AutoencoderKLWanConfig& config);

  // Latents as the denoiser leaves them, to what decode() takes, and back: by latents_mean and
  // latents_std. [B, Z, f, h, w]
  Tensor unscale(const Tensor& latents) const;
  Tensor scale(const Tensor& z) const;

  // frames: [B, 3, n, H, W], -1 to 1, in the network's dtype: the next n of the clip.
  using FrameSink = std::function<void(const Tensor& frames)>;

  // z: [B, Z, f, h, w]. Hands the clip's frames out in order: one, then scale_factor_temporal at a
  // time. Memory does not grow with f (unless tiled).
  void decode(const Tensor& z, const FrameSink& sink, const WanDecodeOptions& options = {}) const;

  // frames: [B, 3, F, H, W] in -1 to 1, F one more than a multiple of scale_factor_temporal, H and
  // W multiples of scale_factor_spatial -> mean and log variance, [B, 2 Z, f, h, w], not scaled.
  Tensor encode(const Tensor& frames) const;

  at::ScalarType dtype() const;
  const AutoencoderKLWanConfig& config() const { return config_; }

 private:
  struct Layers;

  // Not clamped.
  void decode_whole(const Tensor& z, const FrameSink& sink,
                    const std::function<void()>& between) const;
  void decode_tiled(const Tensor& z, const FrameSink& sink,
                    const std::function<void()>& between) const;

  // One value a latent channel: [1, Z, 1, 1, 1]
  Tensor by_channel(const std::vector<double>& values, const Tensor& like) const;

  AutoencoderKLWanConfig config_;
  std::shared_ptr<const Layers> layers_;
};

}  // namespace backlot
