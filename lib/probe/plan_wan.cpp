// Wan 2.1 text to video. Reference: diffusers/models/transformers/transformer_wan.py;
// transformers/models/umt5/modeling_umt5.py.
#include <fmt/format.h>

#include "base/error.h"
#include "probe/operators.h"
#include "probe/plans.h"

namespace backlot {
namespace {

namespace op = operators;
using op::TokenShape;

// Published configs of WanTransformer3DModel, as far as they decide shapes.
struct WanShape {
  int64_t heads, layers, ff_width;
  int64_t head_width = 128, text_width = 4096, text_tokens = 512, time_width = 256;
  int64_t latent_channels = 16, patch = 2;

  int64_t width() const { return heads * head_width; }
  int64_t patch_values() const { return latent_channels * patch * patch; }
};
constexpr WanShape wan_1_3b = {.heads = 12, .layers = 30, .ff_width = 8960};
constexpr WanShape wan_14b = {.heads = 40, .layers = 40, .ff_width = 13824};

// The autoencoder packs four frames after the first, and 8 x 8 pixels, into one latent cell.
constexpr int64_t frames = 81, latent_frames = (frames - 1) / 4 + 1, latent_pixels = 8;

void plan_umt5_xxl(KernelPlan& plan, int64_t batch) {
  constexpr int64_t layers = 24, width = 4096, heads = 64, ff_width = 10240;
  const char* network = "text_encoder";
  const TokenShape x = {batch, 512, width};
  plan.add(network, op::rms_norm(x), 2 * layers + 1);
  plan.add(network, op::linear("linear_qkv", x, 3 * width, Bias::none), layers);
  plan.add(network, op::biased_attention(x, heads), layers);
  plan.add(network, op::linear("linear_out", x, width, Bias::none), layers);
  plan.add(network, op::linear("linear_ff_in", x, 2 * ff_width, Bias::none), layers);
  plan.add(network, op::gated(op::Gate::gelu, {x.batch, x.tokens, 2 * ff_width}), layers);
  plan.add(network, op::linear("linear_ff_out", {x.batch, x.tokens, ff_width}, width, Bias::none),
           layers);
  plan.add(network, op::add(x), 2 * layers);
}

void plan_condition(KernelPlan& plan, const WanShape& wan, int64_t batch) {
  const char* network = "transformer.condition";
  const int64_t c = wan.width();
  const TokenShape text = {batch, wan.text_tokens, c};
  plan.add(network, op::linear("linear_text_in", {batch, wan.text_tokens, wan.text_width}, c));
  plan.add(network, op::activation(op::Activation::gelu_tanh, text));
  plan.add(network, op::linear("linear_text_out", text, c));
  plan.add(network, op::linear("linear_time_in", {1, batch, wan.time_width}, c));
  plan.add(network, op::linear("linear_time_out", {1, batch, c}, c));
  plan.add(network, op::linear("linear_modulation", {1, batch, c}, 6 * c));
  plan.add(network, op::linear("linear_kv", text, 2 * c), wan.layers);
  plan.add(network, op::rms_norm(text), wan.layers);
}

void plan_transformer(KernelPlan& plan, const WanShape& wan, const TokenShape& x) {
  const char* network = "transformer";
  const int64_t c = x.width;
  plan.add(network, op::linear("linear_patches", {x.batch, x.tokens, wan.patch_values()}, c));
  plan.add(network, op::layer_norm(x), 3 * wan.layers + 1);
  plan.add(network, op::linear("linear_qkv", x, 3 * c), wan.layers);
  plan.add(network, op::rms_norm(x), 3 * wan.layers);
  plan.add(network, op::self_attention(x, wan.heads), wan.layers);
  plan.add(network, op::linear("linear_out", x, c), 2 * wan.layers);
  plan.add(network, op::linear("linear_q", x, c), wan.layers);
  plan.add(network, op::cross_attention(x, wan.heads, wan.text_tokens), wan.layers);
  plan.add(network, op::linear("linear_ff_in", x, wan.ff_width), wan.layers);
  plan.add(network, op::activation(op::Activation::gelu_tanh, {x.batch, x.tokens, wan.ff_width}),
           wan.layers);
  plan.add(network, op::linear("linear_ff_out", {x.batch, x.tokens, wan.ff_width}, c), wan.layers);
  plan.add(network, op::add(x), 3 * wan.layers);
  plan.add(network, op::linear("linear_pixels", x, wan.patch_values()));
}

}  // namespace

std::vector<Kernel> plan_wan(std::string_view name, const PlanSize& size) {
  const WanShape& wan = name == "wan-14b" ? wan_14b : wan_1_3b;
  const int64_t pixels = latent_pixels * wan.patch;
  if (size.width % pixels != 0 || size.height % pixels != 0)
    throw UsageError(fmt::format("{}x{}", size.width, size.height),
                     "not the size of a clip of this architecture",
                     fmt::format("give width and height as multiples of {}", pixels));
  KernelPlan plan;
  plan_umt5_xxl(plan, size.batch);
  plan_condition(plan, wan, size.batch);
  const int64_t tokens = latent_frames * (size.height / pixels) * (size.width / pixels);
  plan_transformer(plan, wan, {size.batch, tokens, wan.width()});
  return plan.take();
}

}  // namespace backlot
