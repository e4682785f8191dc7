#include "models/unet_2d_condition.h"

#include <ATen/ATen.h>

namespace backlot {
namespace {

Transformer2DShape transformer_shape(const UNet2DConditionConfig& config, const UNetLevel& level,
                                     int64_t layers) {
  return {.channels = level.channels,
          .heads = level.heads,
          .layers = layers,
          .text_width = level.text_width,
          .norm_groups = config.norm_num_groups,
          .use_linear_projection = config.use_linear_projection};
}

ResnetShape resnet_shape(const UNet2DConditionConfig& config, int64_t in, int64_t out) {
  return {.in = in,
          .out = out,
          .groups = config.norm_num_groups,
          .eps = config.norm_eps,
          .time_width = config.time_embed_dim()};
}

UNetBlock down_block(const Weights& w, const UNet2DConditionConfig& config, size_t index) {
  const auto& level = config.levels[index];
  int64_t in = index == 0 ? level.channels : config.levels[index - 1].channels;
  UNetBlock block;
  for (int64_t i = 0; i < level.resnets; ++i) {
    block.resnets.emplace_back(w / "resnets" / i, resnet_shape(config, in, level.channels));
    if (level.down_transformers > 0) {
      block.attentions.emplace_back(w / "attentions" / i,
                                    transformer_shape(config, level, level.down_transformers));
    }
    in = level.channels;
  }
  if (index + 1 < config.levels.size()) {
    block.downsample.emplace(w / "downsamplers" / 0 / "conv", level.channels, level.channels,
                             ConvShape{.stride = 2});
  }
  return block;
}

UNetBlock mid_block(const Weights& w, const UNet2DConditionConfig& config) {
  const auto& level = config.levels.back();
  UNetBlock block;
  for (int64_t i = 0; i < 2; ++i) {
    block.resnets.emplace_back(w / "resnets" / i,
                               resnet_shape(config, level.channels, level.channels));
  }
  block.attentions.emplace_back(w / "attentions" / 0,
                                transformer_shape(config, level, config.mid_transformers));
  return block;
}

// `index` counts levels from the finest; the checkpoint counts up blocks from the coarsest.
UNetBlock up_block(const Weights& w, const UNet2DConditionConfig& config, size_t index) {
  const auto& level = config.levels[index];
  const auto& below = config.levels[std::min(index + 1, config.levels.size() - 1)];
  const auto& above = config.levels[index == 0 ? 0 : index - 1];
  UNetBlock block;
  for (int64_t i = 0; i <= level.resnets; ++i) {
    const int64_t in = i == 0 ? below.channels : level.channels;
    const int64_t skip = i == level.resnets ? above.channels : level.channels;
    block.resnets.emplace_back(w / "resnets" / i, resnet_shape(config, in + skip, level.channels));
    if (level.up_transformers > 0) {
      block.attentions.emplace_back(w / "attentions" / i,
                                    transformer_shape(config, level, level.up_transformers));
    }
  }
  if (index > 0) block.upsample.emplace(w / "upsamplers" / 0, level.channels);
  return block;
}

std::vector<UNetBlock> down_blocks(const Weights& w, const UNet2DConditionConfig& config) {
  std::vector<UNetBlock> blocks;
  for (size_t i = 0; i < config.levels.size(); ++i) {
    blocks.push_back(down_block(w / static_cast<int64_t>(i), config, i));
  }
  return blocks;
}

std::vector<UNetBlock> up_blocks(const Weights& w, const UNet2DConditionConfig& config) {
  std::vector<UNetBlock> blocks;
  for (size_t i = 0; i < config.levels.size(); ++i) {
    blocks.push_back(up_block(w / static_cast<int64_t>(i), config, config.levels.size() - 1 - i));
  }
  return blocks;
}

}  // namespace

UNet2DConditionModel::UNet2DConditionModel(const Weights& w, const UNet2DConditionConfig& config)
    : config_(config),
      conv_in_((w / "conv_in").in_full(), config.in_channels, config.levels.front().channels),
      time_embedding_((w / "time_embedding").in_full(), config.levels.front().channels,
                      config.time_embed_dim()),
      add_embedding_((w / "add_embedding").in_full(), config.projection_class_embeddings_input_dim,
                     config.time_embed_dim()),
      down_blocks_(down_blocks(w / "down_blocks", config)),
      mid_block_(mid_block(w / "mid_block", config)),
      up_blocks_(up_blocks(w / "up_blocks", config)),
      conv_norm_out_(w / "conv_norm_out", config.norm_num_groups, config.levels.front().channels,
                     config.norm_eps),
      conv_out_((w / "conv_out").in_full(), config.levels.front().channels, config.out_channels) {}

// The order in which a pass meets resnets and attentions.
template <class Visit>
void UNet2DConditionModel::each_block(Visit visit) const {
  for (const auto& block : down_blocks_) visit(block);
  visit(mid_block_);
  for (const auto& block : up_blocks_) visit(block);
}

UNetConditioning UNet2DConditionModel::condition(const Tensor& text, const Tensor& pooled,
                                                 const Tensor& time_ids,
                                                 const Tensor& timesteps) const {
  const auto narrow = dtype();
  const auto order = config_.flip_sin_to_cos ? SineOrder::cos_first : SineOrder::sin_first;
  const auto sines = [&](const Tensor& values, int64_t width) {
    return sinusoidal_embedding(values, width, order, config_.freq_shift);
  };
  const auto sizes = sines(time_ids.flatten(), config_.addition_time_embed_dim)
                         .view({time_ids.size(0), -1});  // [B, 6 * addition_time_embed_dim]
  const auto added = add_embedding_(at::cat({pooled.to(narrow), sizes.to(narrow)}, 1));  // [B, D]
  const auto time =
      time_embedding_(sines(timesteps, config_.levels.front().channels).to(narrow));  // [S, D]
  const auto activated = at::silu(time.unsqueeze(1) + added);                         // [S, B, D]

  UNetConditioning conditioning;
  const auto narrow_text = text.to(narrow);
  each_block([&](const UNetBlock& block) {
    for (const auto& resnet : block.resnets) {
      conditioning.shifts.push_back(resnet.time_shift(activated));
    }
    for (const auto& attention : block.attentions) {
      attention.text_key_values(narrow_text, conditioning.text);
    }
  });
  return conditioning;
}

// One evaluation: walks the blocks in each_block's order, taking conditioning as it goes.
class UNet2DConditionModel::Pass {
 public:
  Pass(const UNetConditioning& conditioning, int64_t step)
      : conditioning_(conditioning),
        shift_(conditioning.shifts.data()),
        text_(conditioning.text.data()),
        step_(step) {}

  // Goes to where the last resnet of `block`, the last one of all, takes its conditioning.
  void leap_to_end(const UNetBlock& block) {
    const int64_t layers = block.attentions.empty() ? 0 : block.attentions.back().layers();
    shift_ = conditioning_.shifts.data() + conditioning_.shifts.size() - 1;
    text_ = conditioning_.text.data() + conditioning_.text.size() - layers;
  }

  Tensor resnet(const ResnetBlock2D& block, const Tensor& x) {
    const auto shift = (shift_++)->select(0, step_);  // [B, C]
    return block(x, &shift);
  }

  Tensor attention(const Transformer2DModel& block, const Tensor& x) {
    const auto* text = text_;
    text_ += block.layers();
    return block(x, text);
  }

 private:
  const UNetConditioning& conditioning_;
  const Tensor* shift_;
  const KeyValue* text_;
  int64_t step_;
};

// The last resnet and what follows it.
Tensor UNet2DConditionModel::finish(Pass& pass, const Tensor& deep, const Tensor& skip) const {
  const auto& block = up_blocks_.back();
  pass.leap_to_end(block);
  auto x = pass.resnet(block.resnets.back(), at::cat({deep, skip}, 1));
  if (!block.attentions.empty()) x = pass.attention(block.attentions.back(), x);
  return conv_out_(conv_norm_out_.silu(x));
}

Tensor UNet2DConditionModel::operator()(const Tensor& sample, const UNetConditioning& conditioning,
                                        int64_t step, Tensor* deep) const {
  Pass pass(conditioning, step);
  auto x = conv_in_(sample.to(dtype()).contiguous(at::MemoryFormat::ChannelsLast));
  if (deep && deep->defined()) return finish(pass, *deep, x);
  std::vector<Tensor> skips = {x};
  for (const auto& block : down_blocks_) {
    for (size_t i = 0; i < block.resnets.size(); ++i) {
      x = pass.resnet(block.resnets[i], x);
      if (!block.attentions.empty()) x = pass.attention(block.attentions[i], x);
      skips.push_back(x);
    }
    if (block.downsample) skips.push_back(x = (*block.downsample)(x));
  }

  x = pass.resnet(mid_block_.resnets[0], x);
  x = pass.attention(mid_block_.attentions[0], x);
  x = pass.resnet(mid_block_.resnets[1], x);

  for (const auto& block : up_blocks_) {
    for (size_t i = 0; i < block.resnets.size(); ++i) {
      if (skips.size() == 1) break;  // finish() has the last
      x = pass.resnet(block.resnets[i], at::cat({x, skips.back()}, 1));
      skips.pop_back();
      if (!block.attentions.empty()) x = pass.attention(block.attentions[i], x);
    }
    // Odd sizes lost a row on the way down: enlarge to what the next skip has.
    if (block.upsample) x = (*block.upsample)(x, skips.back().size(2), skips.back().size(3));
  }
  if (deep) *deep = x;
  return finish(pass, x, skips.back());
}

}  // namespace backlot
