// Work on paper, against counts made from the published architectures by other means: 2 for each
// multiply-add of a product or convolution.
#include "probe/plans.h"

#include <gtest/gtest.h>

namespace backlot {
namespace {

constexpr double tera = 1e12, giga = 1e9;

double flops(const std::vector<Kernel>& kernels, std::string_view networks) {
  double sum = 0;
  for (const auto& kernel : kernels)
    if (kernel.name.starts_with(networks)) sum += kernel.flops * static_cast<double>(kernel.calls);
  return sum;
}

double weights(const std::vector<Kernel>& kernels, std::string_view networks) {
  double sum = 0;
  for (const auto& kernel : kernels)
    if (kernel.name.starts_with(networks))
      sum += kernel.weights * static_cast<double>(kernel.calls);
  return sum;
}

void expect_near_share(double value, double expected, double share) {
  EXPECT_NEAR(value, expected, share * expected);
}

TEST(Plans, SdxlAt1024) {
  const auto kernels = plan_kernels("sdxl", {.width = 1024, .height = 1024});
  expect_near_share(flops(kernels, "unet"), 6.76 * tera, 0.01);
  expect_near_share(flops(kernels, "vae.decoder"), 10.5 * tera, 0.01);
  expect_near_share(flops(kernels, "text_encoder"), 0.11 * tera, 0.1);
}

TEST(Plans, SdxlTurboAt512) {
  const auto kernels = plan_kernels("sdxl-turbo", {.width = 512, .height = 512});
  expect_near_share(flops(kernels, "unet"), 1.59 * tera, 0.01);
  expect_near_share(flops(kernels, "vae.decoder"), 2.52 * tera, 0.01);
}

// The totals of the published networks; the plan leaves out embeddings and what is never run.
TEST(Plans, WeightsAddUpToTheNetworks) {
  const auto sdxl = plan_kernels("sdxl", {.width = 512, .height = 512});
  expect_near_share(weights(sdxl, "unet"), 2567463684.0, 0.0005);
  expect_near_share(weights(sdxl, "text_encoder_2"), 694659840.0 - 49408.0 * 1280, 0.0005);
  const auto wan = plan_kernels("wan-1.3b", {.width = 832, .height = 480});
  expect_near_share(weights(wan, "transformer"), 1418996800.0, 0.001);
  const auto large = plan_kernels("wan-14b", {.width = 832, .height = 480});
  expect_near_share(weights(large, "transformer"), 14288491584.0, 0.001);
  expect_near_share(weights(large, "text_encoder"), 5680910336.0 - 256384.0 * 4096, 0.001);
  const auto qwen = plan_kernels("qwen2.5-7b", {});
  expect_near_share(weights(qwen, "language.decode"), 7615616512.0 - 152064.0 * 3584, 0.0005);
  const auto small = plan_kernels("qwen3-vl-4b", {});
  expect_near_share(weights(small, "language.decode") + weights(small, "vision"),
                    4437815808.0 - 2304.0 * 1024, 0.0005);
  const auto middle = plan_kernels("qwen3-vl-8b", {});
  expect_near_share(weights(middle, "language.prefill") + weights(middle, "vision"),
                    8767123696.0 - 151936.0 * 4096 - 2304.0 * 1152, 0.0005);
}

TEST(Plans, WanAt480p) {
  const auto kernels = plan_kernels("wan-1.3b", {.width = 832, .height = 480});
  expect_near_share(flops(kernels, "transformer"), 283 * tera, 0.01);
  double attention = 0;
  for (const auto& kernel : kernels)
    if (kernel.name == "transformer/self_attention")
      attention += kernel.flops * static_cast<double>(kernel.calls);
  expect_near_share(attention, 198 * tera, 0.01);
}

TEST(Plans, QwenReadsAToken) {
  const auto kernels = plan_kernels("qwen2.5-7b", {});
  // 13.1 GFLOP a token of the body; the words' layer runs once for 512 tokens, attention adds some.
  expect_near_share(flops(kernels, "language.prefill") / 512, 13.1 * giga, 0.02);
  // All weights but the embedding's, in two bytes each: 14.1 GB a step.
  double bytes = 0;
  for (const auto& kernel : kernels)
    if (kernel.name.starts_with("language.decode/linear"))
      bytes += 2 * kernel.weights * static_cast<double>(kernel.calls);
  expect_near_share(bytes, 14.1 * giga, 0.01);
}

double calls(const std::vector<Kernel>& kernels, std::string_view name) {
  double sum = 0;
  for (const auto& kernel : kernels)
    if (kernel.name == name) sum += static_cast<double>(kernel.calls);
  return sum;
}

// Layers work together in some dtypes; what they do is the same in all.
TEST(Plans, EveryDtypeHasTheSameWork) {
  const auto wide = plan_kernels("sdxl", {.width = 512, .height = 512}, at::kDouble);
  for (const auto dtype : {at::kDouble, at::kFloat, at::kBFloat16, at::kHalf}) {
    const auto kernels = plan_kernels("sdxl", {.width = 512, .height = 512}, dtype);
    for (const auto* network : {"unet/", "unet.condition/", "vae.decoder/"}) {
      EXPECT_DOUBLE_EQ(flops(kernels, network), flops(wide, network)) << network << dtype;
      EXPECT_DOUBLE_EQ(weights(kernels, network), weights(wide, network)) << network << dtype;
    }
    const auto unet = [&](std::string_view name) {
      return calls(kernels, std::string("unet/").append(name));
    };
    // 17 blocks of convolutions, 11 transformers, in them 70 blocks with three residuals.
    EXPECT_EQ(unet("conv3x3_residual") + unet("add_residual"), 17) << dtype;
    EXPECT_EQ(unet("conv3x3_shift") + unet("group_norm_silu_shifted"), 17) << dtype;
    EXPECT_EQ(unet("conv3x3_no_bias"), 2 * unet("add_residual")) << dtype;
    EXPECT_EQ(unet("add"), 11) << dtype;
    EXPECT_EQ(unet("linear_out_residual") + unet("add_layer_norm"), 140) << dtype;
    EXPECT_EQ(unet("linear_ff_out_residual"), 70) << dtype;
    EXPECT_EQ(unet("layer_norm") + unet("add_layer_norm"), 210) << dtype;
    EXPECT_EQ(unet("linear_geglu"), 70) << dtype;
    EXPECT_EQ(unet("upsample_conv3x3"), 2) << dtype;
  }
}

// A convolution of an own kernel takes along what others leave to the next layer.
TEST(Plans, SumsOfTheirOwnHaveEntriesOfTheirOwn) {
  const auto apart = plan_kernels("sdxl", {}, at::kDouble);
  EXPECT_GT(calls(apart, "unet/add_residual"), 0);
  EXPECT_GT(calls(apart, "unet/add_layer_norm"), 0);
  EXPECT_EQ(calls(apart, "unet/conv3x3_residual"), 0);
  // float16 overflows in the decoder, which then runs in float32.
  const auto half = plan_kernels("sdxl", {}, at::kHalf);
  EXPECT_EQ(calls(half, "vae.decoder/add_residual"),
            calls(plan_kernels("sdxl", {}, at::kFloat), "vae.decoder/add_residual"));
  EXPECT_EQ(calls(half, "unet/add_residual"), calls(apart, "unet/add_residual"));
}

TEST(Plans, GrowWithTheBatch) {
  const auto one = plan_kernels("sdxl", {.batch = 1}), four = plan_kernels("sdxl", {.batch = 4});
  EXPECT_EQ(one.size(), four.size());
  // A time is one for all rows.
  expect_near_share(flops(four, "unet/"), 4 * flops(one, "unet/"), 1e-9);
  EXPECT_EQ(weights(four, ""), weights(one, ""));
}

}  // namespace
}  // namespace backlot
