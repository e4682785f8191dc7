#include "media/preview.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "media/picture_io.h"

namespace backlot {
namespace {

Picture left_black_right_red(int64_t width, int64_t height) {
  Picture picture{.width = width, .height = height, .rgb = {}};
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (const int value : {x < width / 2 ? 0 : 200, 0, 0})
        picture.rgb.push_back(static_cast<uint8_t>(value));
  return picture;
}

// The bytes that base64 text stands for.
std::string unbase64(std::string_view text) {
  const std::string_view alphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text.substr(0, text.find('='))) {
    bits = bits << 6 | static_cast<uint32_t>(alphabet.find(c));
    if ((count += 6) < 8) continue;
    count -= 8;
    bytes.push_back(static_cast<char>(bits >> count & 0xff));
  }
  return bytes;
}

TEST(Shrink, KeepsShapeAndMeans) {
  const Picture small = shrink(left_black_right_red(200, 100), 10);
  EXPECT_EQ(small.width, 10);
  EXPECT_EQ(small.height, 5);
  ASSERT_EQ(small.rgb.size(), 150u);
  EXPECT_EQ(small.rgb[0], 0);
  EXPECT_EQ(small.rgb[27], 200);
  // A pixel that covers both halves is their mean.
  EXPECT_EQ(shrink(left_black_right_red(200, 100), 1).rgb[0], 100);
}

TEST(Shrink, LeavesSmallPicturesAndNeverMakesNone) {
  EXPECT_EQ(shrink(left_black_right_red(8, 8), 10).rgb, left_black_right_red(8, 8).rgb);
  const Picture line = shrink(left_black_right_red(1000, 2), 10);
  EXPECT_EQ(line.height, 1);
  EXPECT_EQ(line.rgb.size(), 30u);
}

TEST(PreviewUri, IsAPngOfAFewKilobytes) {
  const std::string uri = preview_uri(left_black_right_red(1024, 512));
  const std::string head = "data:image/png;base64,";
  ASSERT_EQ(uri.substr(0, head.size()), head);
  const Picture back = decode_picture(unbase64(uri.substr(head.size())), "preview").picture;
  EXPECT_EQ(std::max(back.width, back.height), preview_side);
  EXPECT_EQ(back.rgb, shrink(left_black_right_red(1024, 512), preview_side).rgb);
}

}  // namespace
}  // namespace backlot
