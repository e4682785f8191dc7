#include "base/units.h"

#include <gtest/gtest.h>

namespace backlot {
namespace {

TEST(Units, ReadSizes) {
  EXPECT_EQ(parse_bytes("12345"), 12345u);
  EXPECT_EQ(parse_bytes("10MB"), 10'000'000u);
  EXPECT_EQ(parse_bytes("10 MiB"), 10'485'760u);
  EXPECT_EQ(parse_bytes("1.5kB"), 1500u);
  EXPECT_EQ(parse_bytes("2TB"), 2'000'000'000'000u);
  for (const char* wrong : {"", "0", "10 apples", "-1", "1e3", "1.2.3MB", "MB", ".", "10mb",
                            "9999999TB", "nan", "0x10"})
    EXPECT_FALSE(parse_bytes(wrong)) << wrong;
}

TEST(Units, ReadDurations) {
  EXPECT_EQ(parse_duration("90s"), 90.0);
  EXPECT_EQ(parse_duration("1.5h"), 5400.0);
  EXPECT_EQ(parse_duration("30d"), 30 * 86400.0);
  EXPECT_EQ(parse_duration("2w"), 14 * 86400.0);
  for (const char* wrong : {"", "30", "0d", "d", "1y", "-3d", "1000w5", "9999999w"})
    EXPECT_FALSE(parse_duration(wrong)) << wrong;
}

}  // namespace
}  // namespace backlot
