// The fused operators' compositions against formulas in float64, and the operators against them.
#include "nn/fused.h"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "nn/resnet.h"
#include "support/made_weights.h"

namespace backlot {
namespace {

using at::Tensor;

template <class Signature>
auto registered(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

class Fused : public ::testing::TestWithParam<at::ScalarType> {
 protected:
  Fused() { at::manual_seed(1); }
  Tensor random(at::IntArrayRef shape) const { return at::randn(shape).to(GetParam()); }
  Tensor map(at::IntArrayRef shape) const {
    return random(shape).contiguous(at::MemoryFormat::ChannelsLast);
  }
  void expect_near(const Tensor& made, const Tensor& expected) const {
    ASSERT_EQ(made.sizes(), expected.sizes());
    const double unit = GetParam() == at::kFloat ? 3e-6 : GetParam() == at::kHalf ? 4e-3 : 2e-2;
    EXPECT_LE((made.to(at::kDouble) - expected).abs().max().item<double>(),
              unit * expected.abs().max().item<double>());
  }
};

Tensor wide(const Tensor& x) { return x.to(at::kDouble).contiguous(); }

// By hand: nothing of ATen's own normalisation.
Tensor normalised(const Tensor& x, at::IntArrayRef over, double eps) {
  const auto mean = x.mean(over, true);
  const auto variance = (x - mean).square().mean(over, true);
  return (x - mean) / (variance + eps).sqrt();
}

TEST_P(Fused, GroupNormOfAShiftedMap) {
  const auto x = map({2, 12, 5, 7}), shift = random({2, 12});
  const auto weight = random({12}), bias = random({12});
  for (const auto& by : {std::optional<Tensor>(), std::optional<Tensor>(shift),
                         std::optional<Tensor>(shift.narrow(0, 0, 1))}) {
    const auto shifted = by ? wide(x) + wide(*by).unsqueeze(-1).unsqueeze(-1) : wide(x);
    const auto expected = normalised(shifted.view({2, 4, 3, 5, 7}), {2, 3, 4}, 1e-5).view_as(x) *
                              wide(weight).view({1, -1, 1, 1}) +
                          wide(bias).view({1, -1, 1, 1});
    using fused::Activation;
    expect_near(fused::group_norm(x, by, 4, weight, bias, 1e-5, Activation::none), expected);
    const auto active = fused::group_norm(x, by, 4, weight, bias, 1e-5, Activation::silu);
    expect_near(active, expected / (1 + (-expected).exp()));
    const auto op =
        registered<Tensor(const Tensor&, const std::optional<Tensor>&, int64_t, const Tensor&,
                          const Tensor&, double, bool)>("backlot::group_norm");
    EXPECT_TRUE(op.call(x, by, 4, weight, bias, 1e-5, true).equal(active));
  }
}

TEST_P(Fused, LayerNormWithAndWithoutModulation) {
  const auto x = random({2, 5, 24}), weight = random({24}), bias = random({24});
  const auto scale = random({2, 24}), shift = random({2, 24});
  const auto plain = normalised(wide(x), {2}, 1e-5) * wide(weight) + wide(bias);
  expect_near(fused::layer_norm(x, weight, bias, 1e-5), plain);
  const auto modulated = fused::layer_norm(x, weight, bias, 1e-5, scale, shift);
  expect_near(modulated, plain * (1 + wide(scale).unsqueeze(1)) + wide(shift).unsqueeze(1));
  const auto op = registered<Tensor(const Tensor&, const Tensor&, const Tensor&, double,
                                    const std::optional<Tensor>&, const std::optional<Tensor>&)>(
      "backlot::layer_norm");
  EXPECT_TRUE(op.call(x, weight, bias, 1e-5, scale, shift).equal(modulated));
}

TEST_P(Fused, LayerNormAfterAddingLeavesTheSum) {
  const auto x = random({2, 5, 24}), y = random({2, 5, 24});
  const auto weight = random({24}), bias = random({24});
  const auto sum = x + y;
  auto changed = x.clone();
  const auto out = fused::add_layer_norm_(changed, y, weight, bias, 1e-5);
  EXPECT_TRUE(changed.equal(sum));
  expect_near(out, normalised(wide(sum), {2}, 1e-5) * wide(weight) + wide(bias));
  auto again = x.clone();
  const auto op =
      registered<Tensor(const Tensor&, const Tensor&, const Tensor&, const Tensor&, double)>(
          "backlot::add_layer_norm_");
  EXPECT_TRUE(op.call(again, y, weight, bias, 1e-5).equal(out));
  EXPECT_TRUE(again.equal(sum));
}

TEST_P(Fused, GegluTakesTheFirstHalfTimesTheGeluOfTheSecond) {
  const auto x = random({2, 5, 24});
  const auto hidden = wide(x.narrow(2, 0, 12)), gate = wide(x.narrow(2, 12, 12));
  const auto made = fused::geglu(x);
  expect_near(made, hidden * gate * 0.5 * (1 + at::erf(gate / std::sqrt(2.0))));
  EXPECT_TRUE(registered<Tensor(const Tensor&)>("backlot::geglu").call(x).equal(made));
}

TEST_P(Fused, ResidualAddsBiasAndTheScaledOther) {
  const auto x = map({2, 6, 3, 5}), y = map({2, 6, 3, 5}), bias = random({6});
  const auto expected = wide(x) + wide(bias).view({1, -1, 1, 1}) + wide(y) * 0.5;
  auto changed = x.clone();
  const auto out = fused::residual_(changed, bias, y, 0.5);
  EXPECT_EQ(out.const_data_ptr(), changed.const_data_ptr());
  expect_near(changed, expected);
  auto again = x.clone();
  registered<Tensor(const Tensor&, const std::optional<Tensor>&, const Tensor&, double)>(
      "backlot::residual_")
      .call(again, bias, y, 0.5);
  EXPECT_TRUE(again.equal(changed));
  auto without = x.clone();
  fused::residual_(without, {}, y);
  expect_near(without, wide(x) + wide(y));
}

TEST_P(Fused, GuidanceGoesFromTheNegativeToThePositive) {
  const auto output = map({4, 3, 5, 2});
  const auto scale = at::tensor({1.0f, 7.5f}).view({2, 1, 1, 1});
  const auto negative = wide(output).narrow(0, 0, 2), positive = wide(output).narrow(0, 2, 2);
  const auto guided = fused::guide(output, scale);
  EXPECT_EQ(guided.scalar_type(), at::kFloat);
  expect_near(guided, negative + wide(scale) * (positive - negative));
  EXPECT_TRUE(registered<Tensor(const Tensor&, const Tensor&)>("backlot::guide")
                  .call(output, scale)
                  .equal(guided));
}

INSTANTIATE_TEST_SUITE_P(Types, Fused, ::testing::Values(at::kFloat, at::kBFloat16, at::kHalf),
                         [](const auto& info) { return std::string(at::toString(info.param)); });

TEST(FusedToBytes, RoundsHalfToEvenClampsAndOrdersAsPictures) {
  // Bytes b stand at 2 b / 255 - 1; halves between 0 and 1, 1 and 2 go to 0 and 2.
  auto x = at::zeros({2, 3, 1, 4}).contiguous(at::MemoryFormat::ChannelsLast);
  x[0][0][0][0] = -1.5;
  x[0][1][0][0] = 7;
  x[0][2][0][3] = 2 * 100 / 255.0 - 1;
  const auto bytes = fused::to_bytes(x);
  ASSERT_EQ(bytes.numel(), 2 * 4 * 3 + 2);
  EXPECT_EQ(bytes[0].item<int>(), 0);
  EXPECT_EQ(bytes[1].item<int>(), 255);
  EXPECT_EQ(bytes[2].item<int>(), 128);  // 127.5
  EXPECT_EQ(bytes[11].item<int>(), 100);
  EXPECT_EQ(bytes[24].item<int>(), 0);
  EXPECT_TRUE(registered<Tensor(const Tensor&)>("backlot::to_bytes").call(x).equal(bytes));
  EXPECT_TRUE(fused::to_bytes(x.contiguous()).equal(bytes));
}

TEST(FusedToBytes, FlagsTheItemThatIsNotFinite) {
  for (const double bad :
       {std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(),
        std::numeric_limits<double>::quiet_NaN()}) {
    auto x = at::zeros({3, 3, 2, 2}, at::kBFloat16);
    x[1][2][1][0] = bad;
    const auto flags = fused::to_bytes(x).narrow(0, 36, 3);
    EXPECT_TRUE(flags.equal(at::tensor({0, 1, 0}, at::kByte))) << bad;
  }
}

// Where a convolution adds its bias apart, as on a GPU, the block gives biases to the steps that
// follow. float64 on the CPU is such a place; float32 is not.
TEST(ResnetBlock, GivesTheSameWhereverBiasesAreAdded) {
  at::manual_seed(2);
  MadeWeights made;
  for (const auto* conv : {"conv1", "conv2"}) {
    const int64_t in = conv == std::string("conv1") ? 8 : 12;
    made.add(std::string(conv) + ".weight", at::randn({12, in, 3, 3}) / 8);
    made.add(std::string(conv) + ".bias", at::randn({12}));
  }
  for (const auto& [norm, width] : {std::pair<std::string, int64_t>{"norm1", 8}, {"norm2", 12}}) {
    made.add(norm + ".weight", at::randn({width}));
    made.add(norm + ".bias", at::randn({width}));
  }
  made.add("conv_shortcut.weight", at::randn({12, 8, 1, 1}));
  made.add("conv_shortcut.bias", at::randn({12}));
  made.add("time_emb_proj.weight", at::randn({12, 16}) / 4);
  made.add("time_emb_proj.bias", at::randn({12}));
  const auto x = at::randn({2, 8, 6, 5}).contiguous(at::MemoryFormat::ChannelsLast);
  const auto time = at::randn({2, 16});

  for (const int64_t time_width : {0, 16}) {
    const ResnetShape shape{.in = 8, .out = 12, .groups = 4, .eps = 1e-5, .time_width = time_width};
    const auto run = [&](at::ScalarType dtype) {
      auto binding = made.binding(dtype);
      const ResnetBlock2D block(binding.root(), shape);
      EXPECT_EQ(block.conv1.adds_bias_apart(), dtype == at::kDouble);
      if (time_width == 0) return block(x.to(dtype));
      const auto shift = block.time_shift(time.to(dtype));
      return block(x.to(dtype), &shift);
    };
    const auto apart = run(at::kDouble), inside = run(at::kFloat).to(at::kDouble);
    EXPECT_LE((apart - inside).abs().max().item<double>(), 1e-5 * apart.abs().max().item<double>());
  }
}

}  // namespace
}  // namespace backlot
