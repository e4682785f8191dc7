// Layers with their own CPU kernels and weight layouts give what ATen's plain operators give.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "nn/attention.h"
#include "nn/norm.h"
#include "support/made_weights.h"

namespace backlot {
namespace {

class Layers : public ::testing::TestWithParam<at::ScalarType> {
 protected:
  Layers() { at::manual_seed(1); }
  Tensor picture(at::IntArrayRef shape) const {
    return at::randn(shape).to(GetParam()).contiguous(at::MemoryFormat::ChannelsLast);
  }
  // Rounding of the dtype, relative to the largest value.
  void expect_near(const Tensor& made, const Tensor& expected) const {
    ASSERT_EQ(made.sizes(), expected.sizes());
    EXPECT_EQ(made.scalar_type(), GetParam());
    const double unit = GetParam() == at::kFloat ? 2e-6 : 1e-2;
    EXPECT_LE((made.to(at::kDouble) - expected).abs().max().item<double>(),
              unit * expected.abs().max().item<double>());
  }
};

TEST_P(Layers, GroupNorm) {
  for (const auto& shape : std::vector<std::vector<int64_t>>{
           {2, 12, 5, 7}, {1, 64, 40, 33}, {3, 8, 1, 1}, {2, 2560, 9, 8}}) {
    const int64_t channels = shape[1];
    MadeWeights made;
    made.add("weight", at::randn({channels}));
    made.add("bias", at::randn({channels}));
    auto binding = made.binding(GetParam());
    const GroupNorm norm(binding.root(), 4, channels, 1e-5);
    // A mean far from zero, as deep in an autoencoder.
    const auto x = picture(shape) + 3;
    const auto expected =
        at::group_norm(x.to(at::kDouble).contiguous(), 4, norm.weight.to(at::kDouble),
                       norm.bias.to(at::kDouble), 1e-5);
    expect_near(norm(x), expected);
    expect_near(norm.silu(x), at::silu(expected));
    expect_near(norm(x.contiguous()), expected);
    EXPECT_TRUE(norm.silu(x).is_contiguous(at::MemoryFormat::ChannelsLast));
  }
}

TEST_P(Layers, Convolutions) {
  MadeWeights made;
  made.add("weight", at::randn({12, 8, 3, 3}) / 8);
  made.add("bias", at::randn({12}));
  auto binding = made.binding(GetParam());
  const auto weight = binding.root()("weight", {12, 8, 3, 3}).to(at::kDouble);
  const auto bias = binding.root()("bias", {12}).to(at::kDouble);
  for (const auto& [stride, padding] : {std::pair<int64_t, int64_t>{1, 1}, {2, 1}, {2, 0}}) {
    const Conv2d conv(binding.root(), 8, 12, {.stride = stride, .padding = padding});
    const auto x = picture({2, 8, 11, 9});
    expect_near(conv(x), at::conv2d(x.to(at::kDouble).contiguous(), weight, bias, {stride, stride},
                                    {padding, padding}));
    EXPECT_TRUE(conv(x).is_contiguous(at::MemoryFormat::ChannelsLast));
  }
}

TEST_P(Layers, LinearOverTokensRowsAndPixels) {
  MadeWeights made;
  made.add("weight", at::randn({24, 16}) / 4);
  made.add("bias", at::randn({24}));
  auto binding = made.binding(GetParam());
  const Linear linear(binding.root(), 16, 24);
  const auto weight = binding.root()("weight", {24, 16}).to(at::kDouble);
  const auto bias = binding.root()("bias", {24}).to(at::kDouble);
  for (const auto& x : {at::randn({3, 7, 16}), at::randn({5, 16}), at::randn({2, 3, 4, 16}),
                        at::randn({7, 3, 16}).transpose(0, 1)}) {
    const auto narrow = x.to(GetParam());
    expect_near(linear(narrow), at::linear(narrow.to(at::kDouble), weight, bias));
  }
}

TEST_P(Layers, SideBySideIsEachAlone) {
  MadeWeights made;
  made.add("a.weight", at::randn({8, 16}) / 4);
  made.add("b.weight", at::randn({24, 16}) / 4);
  auto binding = made.binding(GetParam());
  const auto root = binding.root();
  const Linear both(
      side_by_side({{root / "a", 16, 8, Bias::none}, {root / "b", 16, 24, Bias::none}}));
  const auto x = at::randn({2, 5, 16}).to(GetParam());
  const auto y = both(x);
  expect_near(y.narrow(2, 0, 8), Linear(root / "a", 16, 8, Bias::none)(x).to(at::kDouble));
  expect_near(y.narrow(2, 8, 24), Linear(root / "b", 16, 24, Bias::none)(x).to(at::kDouble));
}

TEST_P(Layers, CausalAttentionDoesNotSeeTheFuture) {
  const auto x = at::randn({1, 6, 16}).to(GetParam());
  auto changed = x.clone();
  changed.narrow(1, 4, 2).add_(1);
  const auto y = attention(x, x, x, 2, Mask::causal);
  const auto z = attention(changed, changed, changed, 2, Mask::causal);
  EXPECT_TRUE(y.narrow(1, 0, 4).equal(z.narrow(1, 0, 4)));
  EXPECT_FALSE(y.narrow(1, 4, 2).equal(z.narrow(1, 4, 2)));
}

INSTANTIATE_TEST_SUITE_P(Types, Layers, ::testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& info) { return std::string(at::toString(info.param)); });

TEST(Tokens, AreAViewOfChannelsLastMaps) {
  const auto map = at::randn({2, 3, 4, 5}).contiguous(at::MemoryFormat::ChannelsLast);
  const auto tokens = to_tokens(map);
  EXPECT_EQ(tokens.const_data_ptr(), map.const_data_ptr());
  EXPECT_TRUE(to_map(tokens, 4, 5).equal(map));
  EXPECT_EQ(tokens[1][7][2].item<float>(), map[1][2][1][2].item<float>());
}

}  // namespace
}  // namespace backlot
