#include "kernels/decoder_rows.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/made_values.h"

namespace backlot::kernels {
namespace {

class DecoderRows : public testing::TestWithParam<Isa> {
 protected:
  MadeValues made;
};

TEST_P(DecoderRows, RmsNorm) {
  for (const int64_t width : {1, 7, 16, 40, 64, 576, 1000}) {
    const int64_t rows = 3;
    const auto x = made.reals(rows * width, -3, 3), weight = made.reals(width, 0, 2);
    std::vector<float> out(rows * width);
    rms_norm_rows(x.data(), weight.data(), 1e-5f, rows, width, out.data(), GetParam());
    for (int64_t row = 0; row < rows; ++row) {
      double squares = 0;
      for (int64_t i = 0; i < width; ++i) squares += std::pow(double{x[row * width + i]}, 2);
      const double scale = 1 / std::sqrt(squares / width + 1e-5);
      for (int64_t i = 0; i < width; ++i) {
        const double expected = x[row * width + i] * scale * weight[i];
        ASSERT_NEAR(out[row * width + i], expected, 1e-6 * std::abs(expected)) << width;
      }
    }
  }
}

TEST_P(DecoderRows, RmsNormInPlaceAndOfZeros) {
  std::vector<float> x(64, 0.0f), weight(64, 1.0f);
  rms_norm_rows(x.data(), weight.data(), 1e-6f, 1, 64, x.data(), GetParam());
  EXPECT_EQ(x, std::vector<float>(64, 0.0f));
}

TEST_P(DecoderRows, Rotates) {
  for (const int64_t head_dim : {2, 20, 64, 80, 96, 128}) {
    const int64_t heads = 3, half = head_dim / 2;
    const auto before = made.reals(heads * head_dim);
    const auto angles = made.reals(half, -7, 7);
    std::vector<float> x = before, cosines, sines;
    for (const float angle : angles) {
      cosines.push_back(std::cos(angle));
      sines.push_back(std::sin(angle));
    }
    rotate_halves(x.data(), heads, head_dim, cosines.data(), sines.data(), GetParam());
    for (int64_t i = 0; i < heads * half; ++i) {
      const int64_t at = i / half * head_dim + i % half;
      const double a = before[at], b = before[at + half], c = cosines[i % half],
                   s = sines[i % half];
      ASSERT_NEAR(x[at], a * c - b * s, 2e-7) << head_dim;
      ASSERT_NEAR(x[at + half], b * c + a * s, 2e-7) << head_dim;
    }
  }
}

// The exponential's own precision shows here, from where silu underflows to where it is x.
TEST_P(DecoderRows, SiluWithinAMillionth) {
  std::vector<float> gate;
  for (double x = -80; x < 90; x += 0.0037) gate.push_back(static_cast<float>(x));
  const std::vector<float> up(gate.size(), 1.0f);
  std::vector<float> out(gate.size());
  silu_gate(gate.data(), up.data(), gate.size(), out.data(), GetParam());
  for (size_t i = 0; i < gate.size(); ++i) {
    const double expected = gate[i] / (1 + std::exp(-double{gate[i]}));
    ASSERT_NEAR(out[i], expected, 1e-6 * std::abs(expected)) << gate[i];
  }
}

TEST_P(DecoderRows, SiluFarOut) {
  std::vector<float> x{-1000, -100, 1000, 1e30f, -1e30f}, out(5);
  silu_gate(x.data(), std::vector<float>(5, 1.0f).data(), 5, out.data(), GetParam());
  EXPECT_NEAR(out[0], 0, 1e-30);
  EXPECT_NEAR(out[1], 0, 1e-30);
  EXPECT_EQ(out[2], 1000);
  EXPECT_EQ(out[3], 1e30f);
  EXPECT_LT(std::abs(out[4]), 1e-6);
}

INSTANTIATE_TEST_SUITE_P(Isas, DecoderRows,
                         testing::ValuesIn(supported_isas().begin(), supported_isas().end()),
                         [](const auto& each) { return name(each.param); });

}  // namespace
}  // namespace backlot::kernels
