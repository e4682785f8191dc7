// The networks beside the UNet; follows models/clip_text_model.cpp and autoencoder_kl.cpp.
#include <fmt/format.h>

#include "base/error.h"
#include "probe/operators.h"
#include "probe/plans.h"

namespace backlot {
namespace {

namespace op = operators;
using op::MapShape;
using op::TokenShape;

class DecoderPlan {
 public:
  DecoderPlan(KernelPlan& plan, const AutoencoderKLConfig& config, const op::Habits& habits)
      : plan_(plan), config_(config), habits_(habits) {}

  void walk(MapShape x);

 private:
  void add(Kernel kernel, int64_t calls = 1) {
    kernel.float32_for_half = config_.force_upcast;
    plan_.add("vae.decoder", std::move(kernel), calls);
  }
  void resnet(const MapShape& x, int64_t out);
  void pixel_attention(const MapShape& x);

  KernelPlan& plan_;
  const AutoencoderKLConfig& config_;
  op::Habits habits_;
};

void DecoderPlan::resnet(const MapShape& x, int64_t out) {
  for (auto& kernel : op::resnet(x, out, config_.norm_num_groups, false, habits_))
    add(std::move(kernel));
}

void DecoderPlan::pixel_attention(const MapShape& x) {
  const TokenShape tokens = {x.batch, x.height * x.width, x.channels};
  add(op::group_norm(x, config_.norm_num_groups));
  add(op::linear("linear_qkv", tokens, 3 * x.channels));
  add(op::self_attention(tokens, 1));
  add(op::linear("linear_out", tokens, x.channels));
  add(op::add(x));
}

void DecoderPlan::walk(MapShape x) {
  if (config_.use_post_quant_conv) add(op::conv1x1(x, x.channels));
  const auto& channels = config_.block_out_channels;
  add(op::conv(x, channels.back()));
  x.channels = channels.back();
  resnet(x, x.channels);
  if (config_.mid_block_add_attention) pixel_attention(x);
  resnet(x, x.channels);
  for (size_t i = channels.size(); i-- > 0;) {
    for (int64_t j = 0; j <= config_.layers_per_block; ++j) {
      resnet(x, channels[i]);
      x.channels = channels[i];
    }
    if (i == 0) break;
    add(op::upsample_conv3x3(x, 2 * x.height, 2 * x.width));
    x.height *= 2;
    x.width *= 2;
  }
  add(op::group_norm_silu(x, config_.norm_num_groups));
  add(op::conv(x, config_.out_channels));
}

}  // namespace

void plan_vae_decoder(KernelPlan& plan, const AutoencoderKLConfig& config, int64_t batch,
                      int64_t height, int64_t width, const op::Habits& habits) {
  DecoderPlan(plan, config, habits).walk({batch, config.latent_channels, height, width});
}

void plan_clip(KernelPlan& plan, const std::string& network, const CLIPTextConfig& config,
               int64_t batch) {
  const TokenShape x = {batch, config.max_position_embeddings, config.hidden_size};
  const TokenShape wide = {batch, x.tokens, config.intermediate_size};
  const bool pools = config.projection_dim > 0;
  // The last layer but one is what SDXL reads; only pooling needs the last.
  const int64_t layers = config.num_hidden_layers - (pools ? 0 : 1);
  const auto activation =
      config.hidden_act == ClipActivation::gelu ? op::Activation::gelu : op::Activation::quick_gelu;
  plan.add(network, op::layer_norm(x), 2 * layers);
  plan.add(network, op::linear("linear_qkv", x, 3 * x.width), layers);
  plan.add(network, op::self_attention(x, config.num_attention_heads, Mask::causal), layers);
  plan.add(network, op::linear("linear_out", x, x.width), layers);
  plan.add(network, op::linear("linear_ff_in", x, wide.width), layers);
  plan.add(network, op::activation(activation, wide), layers);
  plan.add(network, op::linear("linear_ff_out", wide, x.width), layers);
  plan.add(network, op::add(x), 2 * layers);
  if (!pools) return;
  plan.add(network, op::layer_norm({1, batch, x.width}));
  plan.add(network,
           op::linear("linear_projection", {1, batch, x.width}, config.projection_dim, Bias::none));
}

std::vector<Kernel> plan_sdxl(const ModelFolder& model, const PlanSize& size, at::ScalarType dtype,
                              at::Device device) {
  const auto where = [&](const char* component) {
    return (model.path() / component / "config.json").string();
  };
  const auto vae = read_autoencoder_kl_config(model.config("vae"), where("vae"));
  const auto unet = read_unet_2d_condition_config(model.config("unet"), where("unet"));
  const int64_t pixels = vae.reduction();
  if (size.width % pixels != 0 || size.height % pixels != 0)
    throw UsageError(fmt::format("{}x{}", size.width, size.height),
                     "not the size of a picture of this architecture",
                     fmt::format("give width and height as multiples of {}", pixels));
  KernelPlan plan;
  plan_clip(
      plan, "text_encoder",
      read_clip_text_config(model.config("text_encoder"), where("text_encoder"), ClipHead::none),
      size.batch);
  plan_clip(plan, "text_encoder_2",
            read_clip_text_config(model.config("text_encoder_2"), where("text_encoder_2"),
                                  ClipHead::projection),
            size.batch);
  plan_unet(plan, unet, size.batch, size.height / pixels, size.width / pixels, {dtype, device});
  const bool widened = vae.force_upcast && dtype == at::kHalf;
  plan_vae_decoder(plan, vae, size.batch, size.height / pixels, size.width / pixels,
                   {widened ? at::kFloat : dtype, device});
  return plan.take();
}

}  // namespace backlot
