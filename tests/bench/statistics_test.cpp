#include "bench/statistics.h"

#include <gtest/gtest.h>

namespace backlot {
namespace {

TEST(Median, OfOddAndEvenCounts) {
  EXPECT_EQ(median({3, 1, 2}), 2);
  EXPECT_EQ(median({4, 1, 3, 2}), 2.5);
  EXPECT_EQ(median({}), 0);
}

TEST(Summary, OneDisturbedRunMovesTheMostAlone) {
  const Summary summary = summarise({1.0, 1.2, 1.1, 1.0, 9.0});
  EXPECT_EQ(summary.count, 5u);
  EXPECT_DOUBLE_EQ(summary.median, 1.1);
  EXPECT_DOUBLE_EQ(summary.least, 1.0);
  EXPECT_DOUBLE_EQ(summary.most, 9.0);
  EXPECT_NEAR(summary.mad, 0.1, 1e-12);
  EXPECT_NEAR(summary.deviation(), 0.14826, 1e-12);
}

TEST(Summary, OfNothingIsZero) {
  const Summary summary = summarise({});
  EXPECT_EQ(summary.count, 0u);
  EXPECT_EQ(summary.median, 0);
}

}  // namespace
}  // namespace backlot
