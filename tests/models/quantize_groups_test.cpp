// Weights to 4 and 8 bits: how far off, and what becomes of extremes.
#include "models/quantize_groups.h"

#include <c10/util/Half.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace backlot {
namespace {

constexpr int group = 32;

struct Quantized {
  std::vector<uint8_t> codes;
  std::vector<float> scales, mins, values;  // values: what the codes stand for
};

Quantized quantize(const std::vector<float>& x, int bits) {
  const size_t groups = x.size() / group;
  Quantized made{std::vector<uint8_t>(x.size()), std::vector<float>(groups),
                 std::vector<float>(groups), std::vector<float>(x.size())};
  quantize_groups(x.data(), 1, std::ssize(x), bits, group, made.codes.data(), made.scales.data(),
                  made.mins.data());
  for (size_t i = 0; i < x.size(); ++i)
    made.values[i] =
        made.scales[i / group] * static_cast<float>(made.codes[i]) + made.mins[i / group];
  return made;
}

std::vector<float> bell_shaped(size_t count) {
  std::mt19937 random(3);
  std::normal_distribution<float> bell(0.01F, 0.05F);
  std::vector<float> x(count);
  for (auto& value : x) value = bell(random);
  return x;
}

double root_mean_square(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(static_cast<double>(a[i]) - b[i], 2);
  return std::sqrt(sum / static_cast<double>(a.size()));
}

TEST(QuantizeGroups, IsWithinHalfAStepIn8Bits) {
  const auto x = bell_shaped(64 * group);
  const auto made = quantize(x, 8);
  for (size_t g = 0; g < x.size() / group; ++g) {
    const auto [low, high] =
        std::minmax_element(x.begin() + g * group, x.begin() + (g + 1) * group);
    const float step = (*high - *low) / 255;
    // Scale and minimum are rounded to float16's 11 bits, which shifts the ends of the range.
    const float rounding = (std::abs(*low) + (*high - *low)) / 2048;
    for (size_t i = g * group; i < (g + 1) * group; ++i)
      EXPECT_NEAR(made.values[i], x[i], step * 0.5F + rounding) << i;
  }
}

TEST(QuantizeGroups, UsesAllThatThe4BitsHave) {
  const auto x = bell_shaped(256 * group);
  const auto made = quantize(x, 4);
  EXPECT_LE(*std::ranges::max_element(made.codes), 15);
  EXPECT_EQ(*std::ranges::max_element(made.codes), 15);
  EXPECT_EQ(*std::ranges::min_element(made.codes), 0);
  // From the least to the largest in 15 steps, rounded: a twelfth root of a step. Cutting the range
  // must make it better, or be left.
  std::vector<float> plain(x.size());
  for (size_t g = 0; g < x.size() / group; ++g) {
    const auto [low, high] =
        std::minmax_element(x.begin() + g * group, x.begin() + (g + 1) * group);
    const float step = (*high - *low) / 15;
    for (size_t i = g * group; i < (g + 1) * group; ++i)
      plain[i] = *low + step * std::nearbyint((x[i] - *low) / step);
  }
  EXPECT_LE(root_mean_square(made.values, x), root_mean_square(plain, x) * 1.001);
}

TEST(QuantizeGroups, CutsOutliersIn4BitsWhereThatHelps) {
  auto x = bell_shaped(group);
  x[11] = 0.6F;
  const auto made = quantize(x, 4);
  const float step = (0.6F - *std::ranges::min_element(x)) / 15;
  EXPECT_LE(made.scales[0], step * 1.001F);
  EXPECT_LT(root_mean_square(made.values, x), step / 2);
}

TEST(QuantizeGroups, HoldsScalesInFloat16) {
  const auto made = quantize(bell_shaped(64 * group), 4);
  for (const auto* line : {&made.scales, &made.mins})
    for (const float value : *line) EXPECT_EQ(static_cast<float>(c10::Half(value)), value);
}

TEST(QuantizeGroups, KeepsConstantGroups) {
  for (const int bits : {4, 8})
    for (const float value : {0.0F, -0.0F, 1.0F, -0.375F}) {
      const auto made = quantize(std::vector<float>(group, value), bits);
      for (const float back : made.values) EXPECT_EQ(back, value);
    }
}

TEST(QuantizeGroups, KeepsWhatIsBeyondFloat16) {
  for (const int bits : {4, 8}) {
    std::vector<float> x(2 * group);
    for (size_t i = 0; i < x.size(); ++i)
      x[i] = (i % 2 ? 1e6F : -3e5F) * (i < group ? 1.0F : 1e20F);
    const auto made = quantize(x, bits);
    for (size_t i = 0; i < x.size(); ++i) {
      const float range = 1.3e6F * (i < group ? 1.0F : 1e20F);
      EXPECT_NEAR(made.values[i], x[i], range / (bits == 4 ? 15 : 255)) << bits << " " << i;
    }
  }
}

TEST(QuantizeGroups, KeepsWhatIsTooSmallForFloat16NearZero) {
  const auto made = quantize(std::vector<float>(group, 1e-12F), 4);
  for (const float value : made.values) EXPECT_NEAR(value, 1e-12F, 1e-7F);
}

// One weight that is no number is seen in every product with its group, and in no other.
TEST(QuantizeGroups, LetsShowWhatIsNoNumber) {
  for (const int bits : {4, 8})
    for (const float odd : {NAN, INFINITY, -INFINITY}) {
      auto x = bell_shaped(3 * group);
      x[group + 5] = odd;
      const auto made = quantize(x, bits);
      for (size_t i = 0; i < x.size(); ++i)
        EXPECT_EQ(std::isfinite(made.values[i]), i / group != 1) << i;
      EXPECT_LT(*std::ranges::max_element(made.codes), 1 << bits);
    }
}

TEST(QuantizeGroups, IsFiniteUpToTheLargestNumbers) {
  std::vector<float> x(group, 0.0F);
  x[0] = 3e38F;
  const auto half = quantize(x, 8);
  EXPECT_NEAR(half.values[0] / 3e38F, 1.0F, 0.01F);
  x[1] = -3e38F;  // their difference is beyond float32
  EXPECT_TRUE(std::isnan(quantize(x, 8).values[2]));
}

}  // namespace
}  // namespace backlot
