#include "models/autoencoder_kl_wan.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>

#include "nn/attention.h"
#include "nn/frames.h"

namespace backlot {
namespace {

// Everything here is over frames: [B, F, H, W, C].

struct WanResidualBlock {
  WanResidualBlock(const Weights& w, int64_t in, int64_t out)
      : norm1(w / "norm1", in, 3),
        conv1(w / "conv1", in, out),
        norm2(w / "norm2", out, 3),
        conv2(w / "conv2", out, out) {
    if (in != out) conv_shortcut.emplace(pixelwise(w / "conv_shortcut", in, out, 3));
  }

  Tensor operator()(const Tensor& x, FrameCache& cache) const {
    const auto h = conv1(norm1.silu_after_past(x, cache.next()));
    const auto shortcut = conv_shortcut ? (*conv_shortcut)(x) : x;
    return conv2(norm2.silu_after_past(h, cache.next()), &shortcut);
  }

  PixelNorm norm1;
  CausalConv3d conv1;
  PixelNorm norm2;
  CausalConv3d conv2;
  std::optional<Linear> conv_shortcut;
};

// Attention of every pixel to every other of its frame, with one head.
struct WanAttentionBlock {
  WanAttentionBlock(const Weights& w, int64_t channels)
      : norm(w / "norm", channels, 2),
        to_qkv(pixelwise(w / "to_qkv", channels, 3 * channels, 2)),
        proj(pixelwise(w / "proj", channels, channels, 2)) {}

  Tensor operator()(const Tensor& x) const {
    const auto qkv = to_qkv(norm(x).flatten(0, 1).flatten(1, 2)).chunk(3, 2);
    return proj.plus(attention(qkv[0], qkv[1], qkv[2], 1).view(x.sizes()), x);
  }

  PixelNorm norm;
  Linear to_qkv, proj;
};

struct WanMidBlock {
  WanMidBlock(const Weights& w, int64_t channels)
      : resnet_0(w / "resnets" / 0, channels, channels),
        attention(w / "attentions" / 0, channels),
        resnet_1(w / "resnets" / 1, channels, channels) {}

  Tensor operator()(const Tensor& x, FrameCache& cache) const {
    return resnet_1(attention(resnet_0(x, cache)), cache);
  }

  WanResidualBlock resnet_0;
  WanAttentionBlock attention;
  WanResidualBlock resnet_1;
};

// Twice the size and half the channels, after twice the frames where `time_conv` is. A clip's first
// frame stays one: it was encoded alone.
struct WanUpsample {
  WanUpsample(const Weights& w, int64_t channels, bool temporal)
      : resample(w / "resample" / 1, channels, channels / 2) {
    if (temporal) time_conv.emplace(w / "time_conv", channels, 2 * channels);
  }

  Tensor operator()(const Tensor& x, FrameCache& cache) const {
    if (!time_conv) return resample(x);
    auto& slot = cache.next();
    if (cache.first) return resample(x);
    // The channels hold two frames, one after the other.
    const auto pairs = (*time_conv)(after_past(x, slot)).unflatten(4, at::IntArrayRef({2, -1}));
    return resample(pairs.permute({0, 1, 4, 2, 3, 5}).flatten(1, 2));
  }

  UpsampleFrames resample;
  std::optional<TimeConv> time_conv;
};

// Half the size, then half the frames where `time_conv` is, but for a clip's first.
struct WanDownsample {
  WanDownsample(const Weights& w, int64_t channels, bool temporal)
      : resample(w / "resample" / 1, channels) {
    if (temporal) time_conv.emplace(w / "time_conv", channels, channels, 2);
  }

  Tensor operator()(const Tensor& x, FrameCache& cache) const {
    const auto small = resample(x);
    if (!time_conv) return small;
    auto& slot = cache.next();
    const auto last = small.narrow(1, small.size(1) - 1, 1).clone();
    const auto before = slot;
    slot = last;
    return cache.first ? small : (*time_conv)(at::cat({before, small}, 1));
  }

  DownsampleFrames resample;
  std::optional<TimeConv> time_conv;
};

struct WanDecoder3d {
  WanDecoder3d(const Weights& w, const AutoencoderKLWanConfig& config);

  // x: [B, F, h, w, Z] -> [B, F', H, W, 3]
  Tensor operator()(const Tensor& x, FrameCache& cache) const;

  struct Block {
    std::vector<WanResidualBlock> resnets;
    std::optional<WanUpsample> upsample;
  };

  CausalConv3d conv_in;
  WanMidBlock mid_block;
  std::vector<Block> up_blocks;
  PixelNorm norm_out;
  CausalConv3d conv_out;
};

struct WanEncoder3d {
  WanEncoder3d(const Weights& w, const AutoencoderKLWanConfig& config);

  // x: [B, F, H, W, 3] -> [B, F', h, w, 2 Z]
  Tensor operator()(const Tensor& x, FrameCache& cache) const;

  struct Block {
    std::vector<WanResidualBlock> resnets;
    std::optional<WanDownsample> downsample;
  };

  CausalConv3d conv_in;
  std::vector<Block> down_blocks;
  WanMidBlock mid_block;
  PixelNorm norm_out;
  CausalConv3d conv_out;
};

WanDecoder3d::WanDecoder3d(const Weights& w, const AutoencoderKLWanConfig& config)
    : conv_in(w / "conv_in", config.z_dim, config.decoder_base_dim * config.dim_mult.back()),
      mid_block(w / "mid_block", config.decoder_base_dim * config.dim_mult.back()),
      norm_out(w / "norm_out", config.decoder_base_dim * config.dim_mult.front(), 3),
      conv_out(w / "conv_out", config.decoder_base_dim * config.dim_mult.front(), 3) {
  const auto count = static_cast<int64_t>(config.dim_mult.size());
  int64_t in = config.decoder_base_dim * config.dim_mult.back();
  for (int64_t i = 0; i < count; ++i) {
    const auto here = w / "up_blocks" / i;
    const int64_t out = config.decoder_base_dim * config.dim_mult[count - 1 - i];
    auto& block = up_blocks.emplace_back();
    for (int64_t j = 0; j <= config.num_res_blocks; ++j) {
      block.resnets.emplace_back(here / "resnets" / j, in, out);
      in = out;
    }
    if (i + 1 == count) break;
    block.upsample.emplace(here / "upsamplers" / 0, out, config.temperal_downsample[count - 2 - i]);
    in = out / 2;
  }
}

Tensor WanDecoder3d::operator()(const Tensor& x, FrameCache& cache) const {
  cache.rewind();
  auto h = mid_block(conv_in(after_past(x, cache.next())), cache);
  for (const auto& block : up_blocks) {
    for (const auto& resnet : block.resnets) h = resnet(h, cache);
    if (block.upsample) h = (*block.upsample)(h, cache);
  }
  h = conv_out(norm_out.silu_after_past(h, cache.next()));
  cache.first = false;
  return h;
}

// The checkpoint counts resnets and downsamplers in one list.
WanEncoder3d::WanEncoder3d(const Weights& w, const AutoencoderKLWanConfig& config)
    : conv_in(w / "conv_in", 3, config.base_dim),
      mid_block(w / "mid_block", config.base_dim * config.dim_mult.back()),
      norm_out(w / "norm_out", config.base_dim * config.dim_mult.back(), 3),
      conv_out(w / "conv_out", config.base_dim * config.dim_mult.back(), 2 * config.z_dim) {
  const auto count = static_cast<int64_t>(config.dim_mult.size());
  int64_t in = config.base_dim, number = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t out = config.base_dim * config.dim_mult[i];
    auto& block = down_blocks.emplace_back();
    for (int64_t j = 0; j < config.num_res_blocks; ++j) {
      block.resnets.emplace_back(w / "down_blocks" / number++, in, out);
      in = out;
    }
    if (i + 1 == count) break;
    block.downsample.emplace(w / "down_blocks" / number++, out, config.temperal_downsample[i]);
  }
}

Tensor WanEncoder3d::operator()(const Tensor& x, FrameCache& cache) const {
  cache.rewind();
  auto h = conv_in(after_past(x, cache.next()));
  for (const auto& block : down_blocks) {
    for (const auto& resnet : block.resnets) h = resnet(h, cache);
    if (block.downsample) h = (*block.downsample)(h, cache);
  }
  h = conv_out(norm_out.silu_after_past(mid_block(h, cache), cache.next()));
  cache.first = false;
  return h;
}

// [B, C, F, H, W] -> [B, F, H, W, C] and back.
Tensor channels_to_end(const Tensor& x) { return x.permute({0, 2, 3, 4, 1}).contiguous(); }
Tensor channels_to_front(const Tensor& x) { return x.permute({0, 4, 1, 2, 3}); }

}  // namespace

struct AutoencoderKLWan::Layers {
  Layers(const Weights& w, const AutoencoderKLWanConfig& config)
      : encoder(w / "encoder", config),
        quant_conv(pixelwise(w / "quant_conv", 2 * config.z_dim, 2 * config.z_dim, 3)),
        post_quant_conv(pixelwise(w / "post_quant_conv", config.z_dim, config.z_dim, 3)),
        decoder(w / "decoder", config),
        options((w / "post_quant_conv")("bias", {config.z_dim}).options()) {}

  WanEncoder3d encoder;
  Linear quant_conv, post_quant_conv;
  WanDecoder3d decoder;
  at::TensorOptions options;
};

AutoencoderKLWan::AutoencoderKLWan(const Weights& w, const AutoencoderKLWanConfig& config)
    : config_(config), layers_(std::make_shared<const Layers>(w, config)) {}

at::ScalarType AutoencoderKLWan::dtype() const { return layers_->options.dtype().toScalarType(); }

Tensor AutoencoderKLWan::by_channel(const std::vector<double>& values, const Tensor& like) const {
  return at::tensor(values, at::kFloat).to(like.options()).view({1, -1, 1, 1, 1});
}

Tensor AutoencoderKLWan::unscale(const Tensor& latents) const {
  // Divided by the inverse, as the reference does.
  return latents / (1.0 / by_channel(config_.latents_std, latents)) +
         by_channel(config_.latents_mean, latents);
}

Tensor AutoencoderKLWan::scale(const Tensor& z) const {
  return (z - by_channel(config_.latents_mean, z)) * (1.0 / by_channel(config_.latents_std, z));
}

void AutoencoderKLWan::decode_whole(const Tensor& z, const FrameSink& sink,
                                    const std::function<void()>& between) const {
  const auto latents = channels_to_end(z.to(layers_->options));
  FrameCache cache;
  for (int64_t i = 0; i < latents.size(1); ++i) {
    const auto frame = layers_->post_quant_conv(latents.narrow(1, i, 1).contiguous());
    sink(channels_to_front(layers_->decoder(frame, cache)));
    if (between) between();
  }
}

void AutoencoderKLWan::decode(const Tensor& z, const FrameSink& sink,
                              const WanDecodeOptions& options) const {
  const auto clamped = [&](const Tensor& frames) { sink(frames.clamp(-1, 1)); };
  options.tiled ? decode_tiled(z, clamped, options.between)
                : decode_whole(z, clamped, options.between);
}

Tensor AutoencoderKLWan::encode(const Tensor& frames) const {
  const int64_t step = config_.scale_factor_temporal();
  TORCH_CHECK(frames.size(2) % step == 1 % step, "a clip has one frame more than a multiple of ",
              step);
  FrameCache cache;
  std::vector<Tensor> latents;
  for (int64_t at = 0; at < frames.size(2); at += at == 0 ? 1 : step) {
    const auto some = channels_to_end(frames.narrow(2, at, at == 0 ? 1 : step));
    latents.push_back(layers_->quant_conv(layers_->encoder(some.to(layers_->options), cache)));
  }
  return channels_to_front(at::cat(latents, 1)).contiguous();
}

}  // namespace backlot
