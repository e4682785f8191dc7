// Quantized layers stay as close to the exact ones as their 8 bits allow, and to the exact
// arithmetic of those 8 bits.
#include "nn/quantized.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "nn/int8_rows.h"

namespace backlot {
namespace {

using at::Tensor;

// The relative error in the mean over all values.
double relative_error(const Tensor& made, const Tensor& exact) {
  EXPECT_EQ(made.sizes(), exact.sizes());
  const auto difference = made.to(at::kDouble) - exact.to(at::kDouble);
  return (difference.norm() / exact.to(at::kDouble).norm()).item<double>();
}

bool int8_works() {
  try {
    insist_on_quantization(Quantization::int8, "cpu");
    return true;
  } catch (const EnvironmentError&) {
    return false;
  }
}

class Int8 : public ::testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override {
    if (!int8_works()) GTEST_SKIP() << "no VNNI instructions here";
    at::manual_seed(1);
  }
};

TEST_P(Int8, LinearIsCloseForEveryToken) {
  const auto weight = at::randn({48, 96}) / 10, bias = at::randn({48});
  // Tokens of very different sizes, as one scale for all could not hold.
  const auto sizes = at::tensor({1e-3, 1.0, 300.0, 0.0, 5.0}, at::kFloat).view({1, 5, 1});
  const auto x = (at::randn({2, 5, 96}) * sizes).to(GetParam());
  const auto exact = at::linear(x.to(at::kFloat), weight);
  const auto y = (*quantized_linear(Quantization::int8, weight, std::nullopt))(x);
  EXPECT_EQ(y.scalar_type(), GetParam());
  for (const int token : {0, 1, 2, 4}) {
    EXPECT_LE(relative_error(y.select(1, token), exact.select(1, token)), 0.02) << token;
  }
  EXPECT_EQ(y.select(1, 3).abs().max().item<double>(), 0);
  const auto with_bias = (*quantized_linear(Quantization::int8, weight, bias))(x);
  EXPECT_LE(relative_error(with_bias, exact + bias), 0.02);
}

TEST_P(Int8, ConvolutionIsCloseWithEveryStrideAndPicture) {
  const auto weight = at::randn({24, 16, 3, 3}) / 10, bias = at::randn({24});
  const auto sizes = at::tensor({1.0, 40.0}, at::kFloat).view({2, 1, 1, 1});
  const auto x = at::silu(at::randn({2, 16, 9, 7}) * sizes)
                     .to(GetParam())
                     .contiguous(at::MemoryFormat::ChannelsLast);
  for (const int64_t stride : {1, 2}) {
    const auto exact = at::conv2d(x.to(at::kFloat), weight, bias, {stride, stride}, {1, 1});
    const auto layer = quantized_conv2d(Quantization::int8, weight, bias, stride, 1);
    const auto y = (*layer)(x);
    EXPECT_EQ(y.scalar_type(), GetParam());
    EXPECT_TRUE(y.is_contiguous(at::MemoryFormat::ChannelsLast));
    for (const int picture : {0, 1}) {
      EXPECT_LE(relative_error(y[picture], exact[picture]), 0.02) << picture;
      EXPECT_TRUE((*layer)(x.narrow(0, picture, 1))[0].equal(y[picture]));
    }
  }
}

TEST_P(Int8, WhatIsNoNumberShows) {
  const auto weight = at::randn({16, 32});
  auto x = at::randn({1, 2, 32});
  x[0][1][5] = std::numeric_limits<double>::quiet_NaN();
  const auto y = (*quantized_linear(Quantization::int8, weight, std::nullopt))(x.to(GetParam()));
  EXPECT_FALSE(y[0][0].isnan().any().item<bool>());
  EXPECT_TRUE(y[0][1].isnan().all().item<bool>());
}

INSTANTIATE_TEST_SUITE_P(Types, Int8, ::testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& info) { return std::string(at::toString(info.param)); });

TEST(Int8Rows, RoundToTheNearestStep) {
  const std::vector<float> x = {-2, -0.9f, -0.004f, 0, 0.012f, 1, 1.5f, 2, 0, 0, 0, 0, 0, 0, 0, 0};
  std::vector<uint8_t> q(16);
  std::vector<float> scales(2);
  rows::quantize_rows(x.data(), 2, 8, q.data(), scales.data());
  EXPECT_FLOAT_EQ(scales[0], 2.0f / 127);
  EXPECT_EQ(scales[1], 0.0f);
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(q[i], static_cast<int>(std::floor(x[i] * (127 / 2.0f) + 128.5f))) << i;
  }
  const auto range = rows::range_of(x.data(), 16);
  EXPECT_EQ(range.below, 2.0f);
  EXPECT_EQ(range.above, 2.0f);
}

TEST(Float8, RowsHaveTheErrorOfThreeBits) {
  at::manual_seed(1);
  const auto sizes = at::tensor({1e-4, 1.0, 1e6}, at::kFloat).view({3, 1});
  const auto x = at::randn({3, 64}) * sizes;
  const auto rows = to_float8_rows(x);
  EXPECT_EQ(rows.values.scalar_type(), at::kFloat8_e4m3fn);
  const auto back = rows.values.to(at::kFloat) * rows.scales;
  // Three bits of mantissa: half a step is a sixteenth; the largest of a row is met exactly.
  EXPECT_TRUE(((back - x).abs() <= x.abs() / 16 + rows.scales * 0.001).all().item<bool>());
  EXPECT_TRUE(rows.values.to(at::kFloat).abs().amax(1).eq(448).all().item<bool>());
  const auto zeros = to_float8_rows(at::zeros({2, 16}));
  EXPECT_TRUE(zeros.values.to(at::kFloat).eq(0).all().item<bool>());
}

TEST(Float8, LinearIsCloseThroughTheCpusProduct) {
  at::manual_seed(1);
  const auto weight = at::randn({32, 64}) / 8, bias = at::randn({32});
  const auto x = at::randn({2, 5, 64}).to(at::kBFloat16);
  const auto y = (*quantized_linear(Quantization::fp8, weight, bias))(x);
  EXPECT_EQ(y.scalar_type(), at::kBFloat16);
  EXPECT_LE(relative_error(y, at::linear(x.to(at::kFloat), weight, bias)), 0.05);
  // Rows that the GPU's kernels can't take stay with the layer as it is.
  EXPECT_EQ(quantized_linear(Quantization::fp8, at::randn({30, 64}), std::nullopt), nullptr);
  EXPECT_EQ(quantized_conv2d(Quantization::fp8, at::randn({16, 16, 3, 3}), bias, 1, 1), nullptr);
}

TEST(Quantized, NoneIsNoLayer) {
  EXPECT_EQ(quantized_linear(Quantization::none, at::randn({16, 16}), std::nullopt), nullptr);
}

TEST(Quantized, DevicesThatCannotSayWhatWorks) {
  EXPECT_THROW(insist_on_quantization(Quantization::int8, "cuda:0"), EnvironmentError);
  EXPECT_THROW(insist_on_quantization(Quantization::fp8, at::kCPU, at::kBFloat16),
               EnvironmentError);
  EXPECT_THROW(insist_on_quantization(Quantization::int8, at::kCPU, at::kHalf), EnvironmentError);
  EXPECT_NO_THROW(insist_on_quantization(Quantization::none, "cuda:0"));
}

}  // namespace
}  // namespace backlot
