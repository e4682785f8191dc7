// Our own linear layers against ATen's, both from the same bfloat16 values.
#include "nn/packed_linear.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

namespace backlot {
namespace {

using kernels::Gate;

struct Case {
  int64_t rows, in, out;
};

class PackedLinearTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (!kernels::has_bfloat16_dot() || kernels::has_bfloat16_tiles()) {
      GTEST_SKIP() << "this CPU runs other linear layers";
    }
  }

  Tensor random(at::IntArrayRef shape, double scale) {
    return (at::randn(shape, generator_, at::kFloat) * scale).to(at::kBFloat16);
  }

  at::Generator generator_ = at::detail::createCPUGenerator(5);
};

// Nothing is rounded but the result.
void expect_rounded(const Tensor& made, const Tensor& wanted) {
  ASSERT_EQ(made.sizes(), wanted.sizes());
  const auto error = (made.to(at::kFloat) - wanted).abs();
  EXPECT_TRUE((error <= wanted.abs() * 0.004 + 1e-4).all().item<bool>())
      << error.max().item<double>();
}

TEST_P(PackedLinearTest, MultipliesAsATenDoes) {
  const auto [rows, in, out] = GetParam();
  const auto x = random({2, rows, in}, 1), weight = random({out, in}, 1 / std::sqrt(double(in)));
  const auto bias = random({out}, 0.5), residual = random({2, rows, out}, 1);
  const auto product = at::linear(x.to(at::kFloat), weight.to(at::kFloat));
  const auto plain = PackedLinear::make(weight, std::nullopt);
  const auto biased = PackedLinear::make(weight, bias);
  ASSERT_TRUE(plain && biased);
  expect_rounded((*plain)(x), product);
  expect_rounded((*biased)(x), product + bias.to(at::kFloat));
  expect_rounded((*plain)(x, &residual), product + residual.to(at::kFloat));
  // Columns of a wider tensor, as chunk() gives them.
  const auto wide = at::cat({x, x}, 2).slice(2, in, 2 * in);
  expect_rounded((*plain)(wide), product);
}

TEST_P(PackedLinearTest, GatesAsATenDoes) {
  const auto [rows, in, out] = GetParam();
  const auto x = random({rows, in}, 2), weight = random({2 * out, in}, 2 / std::sqrt(double(in)));
  const auto bias = random({2 * out}, 0.5);
  const auto layer = PackedLinear::make(weight, bias, Gate::gelu);
  ASSERT_TRUE(layer);
  const auto halves =
      at::linear(x.to(at::kFloat), weight.to(at::kFloat), bias.to(at::kFloat)).chunk(2, 1);
  expect_rounded((*layer)(x), halves[0] * at::gelu(halves[1]));
}

TEST_P(PackedLinearTest, ActivatesAsATenDoes) {
  const auto [rows, in, out] = GetParam();
  const auto x = random({rows, in}, 3), weight = random({out, in}, 1 / std::sqrt(double(in)));
  const auto bias = random({out}, 0.5);
  const auto layer = PackedLinear::make(weight, bias, Gate::none, kernels::Activation::gelu_tanh);
  ASSERT_TRUE(layer);
  expect_rounded(
      (*layer)(x),
      at::gelu(at::linear(x.to(at::kFloat), weight.to(at::kFloat), bias.to(at::kFloat)), "tanh"));
}

// Rows that fill no block, several blocks, panels of every width.
INSTANTIATE_TEST_SUITE_P(Shapes, PackedLinearTest,
                         testing::Values(Case{1, 2, 16}, Case{5, 64, 32}, Case{77, 66, 48},
                                         Case{13, 32, 80}, Case{256, 128, 192}, Case{7, 640, 112}));

TEST(PackedLinear, LeavesOtherWeightsToOthers) {
  EXPECT_FALSE(PackedLinear::make(at::ones({16, 32}), std::nullopt));
  EXPECT_FALSE(PackedLinear::make(at::ones({16, 31}, at::kBFloat16), std::nullopt));
  EXPECT_FALSE(PackedLinear::make(at::ones({20, 32}, at::kBFloat16), std::nullopt));
  EXPECT_FALSE(PackedLinear::make(at::ones({48, 32}, at::kBFloat16), std::nullopt, Gate::gelu));
}

TEST(PackedLinear, TakesNoRows) {
  const auto layer = PackedLinear::make(at::ones({16, 32}, at::kBFloat16), std::nullopt);
  if (!layer) GTEST_SKIP() << "this CPU runs other linear layers";
  EXPECT_EQ((*layer)(at::ones({0, 32}, at::kBFloat16)).sizes(), at::IntArrayRef({0, 16}));
}

}  // namespace
}  // namespace backlot
