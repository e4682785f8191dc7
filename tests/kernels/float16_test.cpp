#include "kernels/float16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/made_values.h"

namespace backlot::kernels {
namespace {

TEST(Float16, EveryOneComesBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = from_float16(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(from_float16(to_float16(value))));
    } else {
      ASSERT_EQ(to_float16(value), half) << value;
    }
  }
}

TEST(Float16, KnownValues) {
  EXPECT_EQ(from_float16(0x3c00), 1.0f);
  EXPECT_EQ(from_float16(0xc000), -2.0f);
  EXPECT_EQ(from_float16(0x7bff), 65504.0f);
  EXPECT_EQ(from_float16(0x0001), 0x1p-24f);
  EXPECT_EQ(from_float16(0x0400), 0x1p-14f);
  EXPECT_EQ(to_float16(65519.0f), 0x7bff);
  EXPECT_EQ(to_float16(65520.0f), 0x7c00);
  EXPECT_EQ(to_float16(0x1p-25f), 0);  // half of the smallest: the even one
  EXPECT_EQ(to_float16(0x1.8p-24f), 2);
  EXPECT_EQ(to_float16(1 + 0x1p-11f), 0x3c00);
  EXPECT_EQ(to_float16(1 + 0x1.8p-10f), 0x3c02);
}

// Between two neighbours the nearer wins; in the middle, the even one.
TEST(Float16, RoundsToTheNearest) {
  for (uint16_t low = 0; low < 0x7bff; ++low) {
    const float a = from_float16(low), b = from_float16(low + 1), middle = (a + b) / 2;
    ASSERT_EQ(to_float16(middle), low % 2 ? low + 1 : low) << middle;
    ASSERT_EQ(to_float16(std::nextafter(middle, a)), low) << middle;
    ASSERT_EQ(to_float16(std::nextafter(middle, b)), low + 1) << middle;
  }
}

TEST(BFloat16, RoundsToTheNearestAndKeepsNan) {
  EXPECT_EQ(to_bfloat16(1.0f), 0x3f80);
  EXPECT_EQ(to_bfloat16(1 + 0x1p-8f), 0x3f80);
  EXPECT_EQ(to_bfloat16(1 + 0x1.8p-7f), 0x3f82);
  EXPECT_EQ(from_bfloat16(0xc000), -2.0f);
  EXPECT_EQ(to_bfloat16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_TRUE(std::isnan(from_bfloat16(to_bfloat16(from_bits(0x7fffffff)))));
  EXPECT_TRUE(std::isnan(from_bfloat16(to_bfloat16(from_bits(0x7f800001)))));
}

}  // namespace
}  // namespace backlot::kernels
