// The autoencoder between pictures and latents.
//
// Reference: diffusers/models/autoencoders/autoencoder_kl.py and vae.py, whose tensor names this
// file follows. Shape letters: B batch, Z latent channels, H and W picture, h and w latent size.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "nn/attention.h"
#include "nn/resnet.h"

namespace backlot {

struct AutoencoderKLConfig {
  int64_t in_channels = 3, out_channels = 3, latent_channels = 4;
  std::vector<int64_t> block_out_channels;
  int64_t layers_per_block = 1;
  int64_t norm_num_groups = 32;
  int64_t sample_size = 32;  // what tiles are cut by
  double scaling_factor = 0.18215;
  std::vector<double> latents_mean, latents_std;  // one a latent channel, or empty
  bool force_upcast = true;                       // float16 overflows in this network
  bool use_quant_conv = true, use_post_quant_conv = true;
  bool mid_block_add_attention = true;

  // Picture pixels a latent pixel stands for, along each side.
  int64_t reduction() const { return int64_t{1} << (block_out_channels.size() - 1); }
};

// Throws LoadError naming `where` and the key.
AutoencoderKLConfig read_autoencoder_kl_config(const Json& config, const std::string& where);

// Attention of every pixel to every other, with one head.
struct PixelAttention {
  PixelAttention(const Weights& w, int64_t channels, int64_t groups);

  // x: [B, C, h, w] -> the same shape
  Tensor operator()(const Tensor& x) const;

  GroupNorm group_norm;
  Linear to_qkv;
  Linear to_out;
};

struct VaeMidBlock {
  VaeMidBlock(const Weights& w, const AutoencoderKLConfig& config);
  Tensor operator()(const Tensor& x) const;

  ResnetBlock2D resnet_0;
  std::optional<PixelAttention> attention;
  ResnetBlock2D resnet_1;
};

struct VaeEncoder {
  VaeEncoder(const Weights& w, const AutoencoderKLConfig& config);

  // x: [B, 3, H, W] -> [B, 2 Z, h, w]
  Tensor operator()(const Tensor& x) const;

  struct Block {
    std::vector<ResnetBlock2D> resnets;
    std::optional<Conv2d> downsample;
  };

  Conv2d conv_in;
  std::vector<Block> down_blocks;
  VaeMidBlock mid_block;
  GroupNorm conv_norm_out;
  Conv2d conv_out;
};

struct VaeDecoder {
  VaeDecoder(const Weights& w, const AutoencoderKLConfig& config);

  // z: [B, Z, h, w] -> [B, 3, H, W]
  Tensor operator()(const Tensor& z) const;

  struct Block {
    std::vector<ResnetBlock2D> resnets;
    std::optional<Upsample2D> upsample;
  };

  Conv2d conv_in;
  VaeMidBlock mid_block;
  std::vector<Block> up_blocks;
  GroupNorm conv_norm_out;
  Conv2d conv_out;
};

class AutoencoderKL {
 public:
  AutoencoderKL(const Weights& w, const AutoencoderKLConfig& config);

  // Latents as the denoiser leaves them, to what decode() takes: out of their scaling.
  Tensor unscale(const Tensor& latents) const;

  // z: [B, Z, h, w] -> [B, 3, H, W], about -1 to 1, not clamped. In the network's dtype.
  Tensor decode(const Tensor& z) const;

  // The same in overlapping tiles whose seams are blended, as diffusers' enable_vae_tiling: memory
  // for one tile, slightly other pixels. Plain decode() if the picture is no larger than a tile.
  // `between_tiles` is called after each one.
  Tensor decode_tiled(const Tensor& z, const std::function<void()>& between_tiles) const;

  // picture: [B, 3, H, W] in -1 to 1 -> mean and log variance, [B, 2 Z, h, w].
  Tensor encode(const Tensor& picture) const;

  at::ScalarType dtype() const { return decoder_.conv_in.dtype(); }
  const AutoencoderKLConfig& config() const { return config_; }

 private:
  AutoencoderKLConfig config_;
  VaeEncoder encoder_;
  VaeDecoder decoder_;
  std::optional<Conv1x1> quant_conv_, post_quant_conv_;
};

}  // namespace backlot
