// Winograd convolutions against ATen's, both from the same bfloat16 values.
#include "nn/winograd.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

namespace backlot {
namespace {

using kernels::Enlarge;

struct Case {
  int64_t batch, in, out, height, width;
};

class WinogradTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (!kernels::has_bfloat16_dot() || kernels::has_bfloat16_tiles()) {
      GTEST_SKIP() << "this CPU runs other convolutions";
    }
  }

  Tensor random(at::IntArrayRef shape, double scale) {
    return (at::randn(shape, generator_, at::kFloat) * scale).to(at::kBFloat16);
  }

  at::Generator generator_ = at::detail::createCPUGenerator(3);
};

// Relative to the size of the values: bfloat16 keeps 2^-9 of one, the transforms some three of it.
void expect_close(const Tensor& made, const Tensor& wanted) {
  ASSERT_EQ(made.sizes(), wanted.sizes());
  ASSERT_TRUE(made.is_contiguous(at::MemoryFormat::ChannelsLast));
  const auto error = made.to(at::kFloat) - wanted;
  EXPECT_LT((error.norm() / wanted.norm()).item<double>(), 0.006);
  EXPECT_LT(error.abs().max().item<double>(), 0.06 * wanted.abs().max().item<double>());
}

TEST_P(WinogradTest, ConvolvesAsATenDoes) {
  const auto [batch, in, out, height, width] = GetParam();
  const auto x = random({batch, in, height, width}, 1).contiguous(at::MemoryFormat::ChannelsLast);
  const auto weight = random({out, in, 3, 3}, 1 / std::sqrt(9.0 * double(in)));
  const auto bias = random({out}, 0.5), shift = random({batch, out}, 0.5);
  const auto residual = random({batch, out, height, width}, 1);
  const auto conv = WinogradConv::make(weight, bias, Enlarge::no);
  ASSERT_TRUE(conv);
  const auto wanted =
      at::conv2d(x.to(at::kFloat), weight.to(at::kFloat), bias.to(at::kFloat), 1, 1);
  expect_close((*conv)(x), wanted);
  expect_close((*conv)(x, &shift), wanted + shift.to(at::kFloat).view({batch, out, 1, 1}));
  expect_close((*conv)(x, nullptr, &residual), wanted + residual.to(at::kFloat));
}

TEST_P(WinogradTest, EnlargesAndConvolvesAsATenDoes) {
  const auto [batch, in, out, height, width] = GetParam();
  const auto x = random({batch, in, height, width}, 1).contiguous(at::MemoryFormat::ChannelsLast);
  const auto weight = random({out, in, 3, 3}, 1 / std::sqrt(9.0 * double(in)));
  const auto bias = random({out}, 0.5);
  const auto conv = WinogradConv::make(weight, bias, Enlarge::twice);
  ASSERT_TRUE(conv);
  const auto enlarged = at::upsample_nearest2d(x.to(at::kFloat), {2 * height, 2 * width});
  expect_close((*conv)(x), at::conv2d(enlarged, weight.to(at::kFloat), bias.to(at::kFloat), 1, 1));
}

// Many channels of a single tile, odd sizes, sizes below a tile, panels of every width, several
// blocks of tiles, several panels.
INSTANTIATE_TEST_SUITE_P(Shapes, WinogradTest,
                         testing::Values(Case{1, 32, 16, 1, 1}, Case{2, 32, 32, 3, 5},
                                         Case{1, 64, 48, 8, 8}, Case{3, 96, 64, 7, 9},
                                         Case{1, 32, 80, 33, 18}, Case{2, 128, 144, 16, 40},
                                         Case{1, 320, 192, 4, 4}, Case{1, 2560, 16, 2, 2}));

TEST(Winograd, LeavesOtherWeightsToOthers) {
  const auto make = [](at::IntArrayRef shape, at::ScalarType dtype) {
    return WinogradConv::make(at::ones(shape, dtype), at::ones({shape[0]}, dtype), Enlarge::no);
  };
  EXPECT_FALSE(make({16, 32, 3, 3}, at::kFloat));
  EXPECT_FALSE(make({16, 4, 3, 3}, at::kBFloat16));
  EXPECT_FALSE(make({3, 32, 3, 3}, at::kBFloat16));
}

}  // namespace
}  // namespace backlot
