// Follows models/unet_2d_condition.cpp and transformer_2d.cpp step by step.
#include "probe/operators.h"
#include "probe/plans.h"

namespace backlot {
namespace {

namespace op = operators;
using op::MapShape;
using op::TokenShape;

constexpr int64_t text_tokens = 77;
constexpr const char* unet = "unet";
constexpr const char* condition = "unet.condition";

class UNetPlan {
 public:
  UNetPlan(KernelPlan& plan, const UNet2DConditionConfig& config, int64_t batch,
           const op::Habits& habits)
      : plan_(plan), config_(config), batch_(batch), habits_(habits) {}

  void embeddings();
  void walk(int64_t height, int64_t width);

 private:
  struct Skip {
    int64_t channels, height, width;
  };

  void down(size_t level);
  void middle();
  void up(size_t level);
  void resnet(int64_t in, int64_t out);
  void transformer(const UNetLevel& level, int64_t layers);
  void transformer_block(const TokenShape& x, const UNetLevel& level);
  MapShape map(int64_t channels) const { return {batch_, channels, height_, width_}; }

  KernelPlan& plan_;
  const UNet2DConditionConfig& config_;
  int64_t batch_, height_ = 0, width_ = 0;
  op::Habits habits_;
  int64_t channels_ = 0;
  std::vector<Skip> skips_;
};

void UNetPlan::embeddings() {
  const int64_t wide = config_.time_embed_dim();
  const int64_t narrow = config_.levels.front().channels;
  plan_.add(condition, op::linear("linear_time_in", {1, 1, narrow}, wide));
  plan_.add(condition, op::linear("linear_time_out", {1, 1, wide}, wide));
  plan_.add(condition,
            op::linear("linear_added_in",
                       {1, batch_, config_.projection_class_embeddings_input_dim}, wide));
  plan_.add(condition, op::linear("linear_added_out", {1, batch_, wide}, wide));
}

void UNetPlan::resnet(int64_t in, int64_t out) {
  plan_.add(condition, op::linear("linear_time", {1, batch_, config_.time_embed_dim()}, out));
  for (auto& kernel : op::resnet(map(in), out, config_.norm_num_groups, true, habits_))
    plan_.add(unet, std::move(kernel));
}

void UNetPlan::transformer_block(const TokenShape& x, const UNetLevel& level) {
  const int64_t c = level.channels;
  plan_.add(condition,
            op::linear("linear_text", {batch_, text_tokens, level.text_width}, c, Bias::none), 2);
  plan_.add(unet, op::layer_norm(x), habits_.linears_add_residual ? 3 : 1);
  plan_.add(unet, op::linear("linear_qkv", x, 3 * c, Bias::none));
  plan_.add(unet, op::self_attention(x, level.heads));
  if (habits_.linears_add_residual) {
    plan_.add(unet, op::linear_residual("linear_out", x, c), 2);
  } else {
    plan_.add(unet, op::linear("linear_out", x, c), 2);
    plan_.add(unet, op::add_layer_norm(x), 2);
  }
  plan_.add(unet, op::linear("linear_q", x, c, Bias::none));
  plan_.add(unet, op::cross_attention(x, level.heads, text_tokens));
  plan_.add(unet, op::geglu(x, 4 * c));
  plan_.add(unet, op::linear_residual("linear_ff_out", {x.batch, x.tokens, 4 * c}, c));
}

void UNetPlan::transformer(const UNetLevel& level, int64_t layers) {
  if (layers == 0) return;
  const TokenShape tokens = {batch_, height_ * width_, level.channels};
  plan_.add(unet, op::group_norm(map(level.channels), config_.norm_num_groups));
  plan_.add(unet, op::linear("linear_proj", tokens, level.channels), 2);
  for (int64_t i = 0; i < layers; ++i) transformer_block(tokens, level);
  plan_.add(unet, op::add(map(level.channels)));
}

void UNetPlan::down(size_t index) {
  const auto& level = config_.levels[index];
  for (int64_t i = 0; i < level.resnets; ++i) {
    resnet(channels_, level.channels);
    channels_ = level.channels;
    transformer(level, level.down_transformers);
    skips_.push_back({channels_, height_, width_});
  }
  if (index + 1 == config_.levels.size()) return;
  plan_.add(unet, op::conv(map(channels_), channels_, {.stride = 2}));
  height_ = (height_ + 1) / 2;
  width_ = (width_ + 1) / 2;
  skips_.push_back({channels_, height_, width_});
}

void UNetPlan::middle() {
  resnet(channels_, channels_);
  transformer(config_.levels.back(), config_.mid_transformers);
  resnet(channels_, channels_);
}

void UNetPlan::up(size_t index) {
  const auto& level = config_.levels[index];
  for (int64_t i = 0; i <= level.resnets; ++i) {
    const auto skip = skips_.back();
    skips_.pop_back();
    plan_.add(unet, op::concatenate(map(channels_), skip.channels));
    resnet(channels_ + skip.channels, level.channels);
    channels_ = level.channels;
    transformer(level, level.up_transformers);
  }
  if (index == 0) return;
  const auto next = skips_.back();
  plan_.add(unet, op::upsample_conv3x3(map(channels_), next.height, next.width));
  height_ = next.height;
  width_ = next.width;
}

void UNetPlan::walk(int64_t height, int64_t width) {
  height_ = height;
  width_ = width;
  channels_ = config_.levels.front().channels;
  plan_.add(unet, op::conv(map(config_.in_channels), channels_));
  skips_.push_back({channels_, height_, width_});
  for (size_t i = 0; i < config_.levels.size(); ++i) down(i);
  middle();
  for (size_t i = config_.levels.size(); i-- > 0;) up(i);
  plan_.add(unet, op::group_norm_silu(map(channels_), config_.norm_num_groups));
  plan_.add(unet, op::conv(map(channels_), config_.out_channels));
}

}  // namespace

void plan_unet(KernelPlan& plan, const UNet2DConditionConfig& config, int64_t batch, int64_t height,
               int64_t width, const op::Habits& habits) {
  UNetPlan unet(plan, config, batch, habits);
  unet.embeddings();
  unet.walk(height, width);
}

}  // namespace backlot
