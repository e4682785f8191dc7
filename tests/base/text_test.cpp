#include "base/text.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace backlot {
namespace {

TEST(Slug, KeepsLettersAndDigitsOnly) {
  EXPECT_EQ(slug("A Red Apple, on blue!"), "a-red-apple-on-blue");
  EXPECT_EQ(slug("../../etc/passwd"), "etc-passwd");
  EXPECT_EQ(slug("ネコ"), "untitled");
  EXPECT_EQ(slug(std::string("a\0b", 3)), "a-b");
}

TEST(Slug, IsAlwaysASafeFileName) {
  EXPECT_TRUE(rc::check([](const std::string& text) {
    const std::string name = slug(text);
    RC_ASSERT(!name.empty() && name.size() <= 60);
    RC_ASSERT(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos);
    RC_ASSERT(name.front() != '-' && name.back() != '-');
  }));
}

TEST(Printable, MakesControlCharactersVisible) {
  EXPECT_EQ(printable("a\x1b[31mb\n"), "a\\x1b[31mb\\x0a");
  EXPECT_EQ(printable("caf\xc3\xa9"), "caf\xc3\xa9");
  EXPECT_EQ(printable("\xff\xc2\x9b"), "\\xff\\xc2\\x9b");
}

TEST(Utf8, RefusesMalformedSequences) {
  EXPECT_TRUE(is_utf8("naïve 🐱"));
  EXPECT_FALSE(is_utf8("\xc0\xaf"));
  EXPECT_FALSE(is_utf8("\xed\xa0\x80"));
  EXPECT_FALSE(is_utf8("\xf4\x90\x80\x80"));
  EXPECT_FALSE(is_utf8("\xe2\x82"));
}

TEST(Nearest, NamesWhatWasMeant) {
  constexpr std::string_view known[] = {"prompt", "negative_prompt", "steps", "seed"};
  EXPECT_EQ(nearest("promt", known), "prompt");
  EXPECT_EQ(nearest("stesp", known), "steps");
  EXPECT_EQ(nearest("zzzzzzzzz", known), "");
}

TEST(HumanBytes, PicksTheUnit) {
  EXPECT_EQ(human_bytes(12), "12 B");
  EXPECT_EQ(human_bytes(1536), "1.5 KiB");
  EXPECT_EQ(human_bytes(uint64_t{9} << 30), "9.0 GiB");
}

}  // namespace
}  // namespace backlot
