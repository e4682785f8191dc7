#include "models/autoencoder_kl.h"

#include <ATen/ATen.h>

#include "models/config_reader.h"

namespace backlot {
namespace {

constexpr double norm_eps = 1e-6;

ResnetShape resnet_shape(const AutoencoderKLConfig& config, int64_t in, int64_t out) {
  return {.in = in, .out = out, .groups = config.norm_num_groups, .eps = norm_eps};
}

void insist_on_known_blocks(ConfigReader& reader, size_t levels) {
  reader.only("act_fn", {"silu", "swish"});
  reader.only("down_block_types", {Json(std::vector<std::string>(levels, "DownEncoderBlock2D"))});
  reader.only("up_block_types", {Json(std::vector<std::string>(levels, "UpDecoderBlock2D"))});
}

}  // namespace

AutoencoderKLConfig read_autoencoder_kl_config(const Json& json, const std::string& where) {
  ConfigReader reader(json, where);
  AutoencoderKLConfig config;
  config.block_out_channels = reader.integers("block_out_channels");
  insist_on_known_blocks(reader, config.block_out_channels.size());
  config.in_channels = reader.integer("in_channels", 3);
  config.out_channels = reader.integer("out_channels", 3);
  config.latent_channels = reader.integer("latent_channels", 4);
  config.layers_per_block = reader.integer("layers_per_block", 1);
  config.norm_num_groups = reader.integer("norm_num_groups", 32);
  config.sample_size = reader.integer("sample_size", 32);
  config.scaling_factor = reader.number("scaling_factor", 0.18215);
  // StableDiffusionXLPipeline does not apply a shift, so a folder with one is of another family.
  reader.only("shift_factor", {0, 0.0});
  config.latents_mean = reader.numbers("latents_mean");
  config.latents_std = reader.numbers("latents_std");
  for (const auto* key : {"latents_mean", "latents_std"}) {
    const auto& values =
        key == std::string("latents_mean") ? config.latents_mean : config.latents_std;
    if (!values.empty() && values.size() != static_cast<size_t>(config.latent_channels)) {
      reader.refuse(key, "of another length than latent_channels");
    }
  }
  config.force_upcast = reader.flag("force_upcast", true);
  config.use_quant_conv = reader.flag("use_quant_conv", true);
  config.use_post_quant_conv = reader.flag("use_post_quant_conv", true);
  config.mid_block_add_attention = reader.flag("mid_block_add_attention", true);
  for (const auto channels : config.block_out_channels) {
    if (channels % config.norm_num_groups != 0) {
      reader.refuse("block_out_channels", "not divisible by norm_num_groups");
    }
  }
  reader.finish();
  return config;
}

PixelAttention::PixelAttention(const Weights& w, int64_t channels, int64_t groups)
    : group_norm(w / "group_norm", groups, channels, norm_eps),
      // Folders written before diffusers 0.15 have the second set of names.
      to_qkv(side_by_side({{w / (w.has("query.weight") ? "query" : "to_q"), channels, channels},
                           {w / (w.has("key.weight") ? "key" : "to_k"), channels, channels},
                           {w / (w.has("value.weight") ? "value" : "to_v"), channels, channels}})),
      to_out(w / (w.has("proj_attn.weight") ? "proj_attn" : "to_out.0"), channels, channels) {}

Tensor PixelAttention::operator()(const Tensor& x) const {
  const auto qkv = to_qkv(to_tokens(group_norm(x))).chunk(3, 2);
  const auto tokens = to_out(attention(qkv[0], qkv[1], qkv[2], 1));
  return to_map(tokens, x.size(2), x.size(3)).add_(x);
}

VaeMidBlock::VaeMidBlock(const Weights& w, const AutoencoderKLConfig& config)
    : resnet_0(w / "resnets" / 0, resnet_shape(config, config.block_out_channels.back(),
                                               config.block_out_channels.back())),
      resnet_1(w / "resnets" / 1, resnet_shape(config, config.block_out_channels.back(),
                                               config.block_out_channels.back())) {
  if (config.mid_block_add_attention) {
    attention.emplace(w / "attentions" / 0, config.block_out_channels.back(),
                      config.norm_num_groups);
  }
}

Tensor VaeMidBlock::operator()(const Tensor& x) const {
  auto h = resnet_0(x);
  if (attention) h = (*attention)(h);
  return resnet_1(h);
}

VaeEncoder::VaeEncoder(const Weights& w, const AutoencoderKLConfig& config)
    : conv_in(w / "conv_in", config.in_channels, config.block_out_channels.front()),
      mid_block(w / "mid_block", config),
      conv_norm_out(w / "conv_norm_out", config.norm_num_groups, config.block_out_channels.back(),
                    norm_eps),
      conv_out(w / "conv_out", config.block_out_channels.back(), 2 * config.latent_channels) {
  int64_t in = config.block_out_channels.front();
  const auto count = static_cast<int64_t>(config.block_out_channels.size());
  for (int64_t i = 0; i < count; ++i) {
    const auto here = w / "down_blocks" / i;
    const int64_t out = config.block_out_channels[i];
    auto& block = down_blocks.emplace_back();
    for (int64_t j = 0; j < config.layers_per_block; ++j) {
      block.resnets.emplace_back(here / "resnets" / j, resnet_shape(config, in, out));
      in = out;
    }
    if (i + 1 < count) {
      block.downsample.emplace(here / "downsamplers" / 0 / "conv", out, out,
                               ConvShape{.stride = 2, .padding = 0});
    }
  }
}

Tensor VaeEncoder::operator()(const Tensor& x) const {
  auto h = conv_in(x);
  for (const auto& block : down_blocks) {
    for (const auto& resnet : block.resnets) h = resnet(h);
    // Padded to the right and below only.
    if (block.downsample) h = (*block.downsample)(at::constant_pad_nd(h, {0, 1, 0, 1}));
  }
  return conv_out(conv_norm_out.silu(mid_block(h)));
}

VaeDecoder::VaeDecoder(const Weights& w, const AutoencoderKLConfig& config)
    : conv_in(w / "conv_in", config.latent_channels, config.block_out_channels.back()),
      mid_block(w / "mid_block", config),
      conv_norm_out(w / "conv_norm_out", config.norm_num_groups, config.block_out_channels.front(),
                    norm_eps),
      conv_out(w / "conv_out", config.block_out_channels.front(), config.out_channels) {
  int64_t in = config.block_out_channels.back();
  const auto count = static_cast<int64_t>(config.block_out_channels.size());
  for (int64_t i = 0; i < count; ++i) {
    const auto here = w / "up_blocks" / i;
    const int64_t out = config.block_out_channels[count - 1 - i];
    auto& block = up_blocks.emplace_back();
    for (int64_t j = 0; j <= config.layers_per_block; ++j) {
      block.resnets.emplace_back(here / "resnets" / j, resnet_shape(config, in, out));
      in = out;
    }
    if (i + 1 < count) block.upsample.emplace(here / "upsamplers" / 0, out);
  }
}

Tensor VaeDecoder::operator()(const Tensor& z) const {
  auto h = mid_block(conv_in(z));
  for (const auto& block : up_blocks) {
    for (const auto& resnet : block.resnets) h = resnet(h);
    if (block.upsample) h = (*block.upsample)(h, 2 * h.size(2), 2 * h.size(3));
  }
  return conv_out(conv_norm_out.silu(h));
}

AutoencoderKL::AutoencoderKL(const Weights& w, const AutoencoderKLConfig& config)
    : config_(config), encoder_(w / "encoder", config), decoder_(w / "decoder", config) {
  if (config.use_quant_conv) {
    quant_conv_.emplace(w / "quant_conv", 2 * config.latent_channels, 2 * config.latent_channels);
  }
  if (config.use_post_quant_conv) {
    post_quant_conv_.emplace(w / "post_quant_conv", config.latent_channels, config.latent_channels);
  }
}

Tensor AutoencoderKL::unscale(const Tensor& latents) const {
  if (config_.latents_mean.empty() || config_.latents_std.empty()) {
    return latents / config_.scaling_factor;
  }
  const auto channelwise = [&](const std::vector<double>& values) {
    return at::tensor(values, latents.options()).view({1, -1, 1, 1});
  };
  return latents * channelwise(config_.latents_std) / config_.scaling_factor +
         channelwise(config_.latents_mean);
}

Tensor AutoencoderKL::decode(const Tensor& z) const {
  const auto x = z.to(dtype()).contiguous(at::MemoryFormat::ChannelsLast);
  return decoder_(post_quant_conv_ ? (*post_quant_conv_)(x) : x);
}

Tensor AutoencoderKL::encode(const Tensor& picture) const {
  const auto h = encoder_(picture.to(dtype()).contiguous(at::MemoryFormat::ChannelsLast));
  return quant_conv_ ? (*quant_conv_)(h) : h;
}

}  // namespace backlot
