#include "language/text_stream.h"

#include <gtest/gtest.h>

#include <random>

#include "base/text.h"
#include "base/utf8.h"

namespace backlot {
namespace {

TEST(TextStream, HoldsBackHalfCharacters) {
  TextStream stream({});
  EXPECT_FALSE(stream.add("a\xE2\x82"));
  EXPECT_EQ(stream.take(), "a");
  EXPECT_FALSE(
      stream.add("\xAC"
                 "b"));
  EXPECT_EQ(stream.take(),
            "\xE2\x82\xAC"
            "b");
  stream.add("\xF0\x9F");
  EXPECT_EQ(stream.take(), "");
  stream.end();
  EXPECT_EQ(stream.take(), "\uFFFD");
  EXPECT_EQ(stream.text(), "a\u20ACb\uFFFD");
}

TEST(TextStream, HoldsBackWhatMayBeAStopString) {
  TextStream stream({"\n\nUser:", "END"});
  stream.add("one\n\nUse");
  EXPECT_EQ(stream.take(), "one");
  stream.add("ful. E");
  EXPECT_EQ(stream.take(), "\n\nUseful. ");
  EXPECT_TRUE(stream.add("NDless"));
  EXPECT_EQ(stream.take(), "");
  EXPECT_EQ(stream.text(), "one\n\nUseful. ");
}

TEST(TextStream, TakesTheStopStringThatEndsFirst) {
  TextStream within({"abcdef", "cd"});
  EXPECT_TRUE(within.add("xabcdef"));
  EXPECT_EQ(within.text(), "xab");
  TextStream longest({"d", "bcd"});
  EXPECT_TRUE(longest.add("abcd"));
  EXPECT_EQ(longest.text(), "a");
}

// Where the text ends by looking at all of it: the stop string that ends first, of those the
// longest.
std::string cut(std::string_view all, const std::vector<std::string>& stops) {
  for (size_t end = 1; end <= all.size(); ++end) {
    size_t longest = 0;
    for (const auto& stop : stops)
      if (all.substr(0, end).ends_with(stop)) longest = std::max(longest, stop.size());
    if (longest) return encode_utf8(decode_utf8(all.substr(0, end - longest)));
  }
  return encode_utf8(decode_utf8(all));
}

// Bytes of few kinds, so that stop strings and all sorts of broken characters come up.
TEST(TextStream, GivesTheSameForAllBordersOfTokens) {
  std::mt19937 random(5);
  const std::vector<std::string> kinds = {"a",    "b",    "\xC3", "\xA9", "\xE2",
                                          "\x82", "\xAC", "\xF0", "\x9F", "\xFF"};
  const auto bytes = [&](size_t most, size_t of_kinds) {
    std::string result;
    for (size_t i = random() % most + 1; i-- > 0;) result += kinds[random() % of_kinds];
    return result;
  };
  for (int round = 0; round < 20'000; ++round) {
    std::vector<std::string> stops(random() % 3);
    for (auto& stop : stops) stop = random() % 2 ? bytes(4, 2) : "\xC3\xA9" + bytes(2, 2);
    const std::string all = bytes(24, random() % 2 ? 4 : kinds.size());
    TextStream stream(stops);
    std::string shown;
    for (size_t at = 0; at < all.size();) {
      const size_t length = std::min<size_t>(random() % 5, all.size() - at);
      if (stream.add(std::string_view(all).substr(at, length))) break;
      at += length;
      if (random() % 2) {
        const std::string piece = stream.take();
        ASSERT_TRUE(is_utf8(piece));
        shown += piece;
      }
    }
    stream.end();
    shown += stream.take();
    ASSERT_EQ(stream.text(), cut(all, stops)) << printable(all);
    ASSERT_EQ(shown, stream.text()) << printable(all);
  }
}

}  // namespace
}  // namespace backlot
