#include "text/clean_prompt.h"

#include <gtest/gtest.h>

#include <random>

#include "base/files.h"
#include "base/json.h"
#include "base/text.h"
#include "text/html_entities.h"
#include "text/unicode.h"

namespace backlot {
namespace {

TEST(CleanPrompt, GivesTheReferencesTexts) {
  const Json cases = Json::parse(read_file(fs::path(BACKLOT_TEST_DATA) / "clean_prompt.json"));
  ASSERT_GE(cases.size(), 300u);
  for (const auto& pair : cases) {
    const auto text = pair[0].get<std::string>();
    EXPECT_EQ(clean_prompt(text), pair[1].get<std::string>()) << pair[0].dump(-1, ' ', true);
  }
}

TEST(CleanPrompt, RepairsWhatPeoplePaste) {
  EXPECT_EQ(clean_prompt(" “a cat’s caf\u00C3\u00A9”\r\n\r\n at&nbsp;dawn &amp;amp; dusk "),
            "\"a cat's café\" at dawn & dusk");
  EXPECT_EQ(clean_prompt("\u00E2\u0153\u201D No problems"), "✔ No problems");
  EXPECT_EQ(clean_prompt("\xff"), "\uFFFD");
  EXPECT_EQ(clean_prompt(""), "");
  EXPECT_EQ(clean_prompt(" \n\u3000\t"), "");
}

TEST(CleanPrompt, IsDoneAfterOnceForPlainText) {
  const std::string plain = "a red fox, 35mm photo: \"golden hour\" 你好 мир";
  EXPECT_EQ(clean_prompt(plain), plain);
}

TEST(CleanPrompt, TakesAnyBytes) {
  std::mt19937 random(5);
  for (int i = 0; i < 300; ++i) {
    std::string bytes(1 + random() % 60, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    EXPECT_TRUE(is_utf8(clean_prompt(bytes)));
  }
}

TEST(CleanPrompt, TakesLongTexts) {
  constexpr size_t long_text = 100'000;
  std::string mojibake, references;
  while (mojibake.size() < long_text) mojibake += "\u00C3\u00A9";
  EXPECT_EQ(clean_prompt("x" + mojibake).size(), 1 + mojibake.size() / 2);
  // In the midst of other text, which no encoding has.
  EXPECT_EQ(clean_prompt("你" + mojibake).size(), 3 + mojibake.size() / 2);
  for (size_t i = 0; i < 400; ++i) references += "amp;";
  // More levels than fix_text() has rounds; what is left, two more passes resolve.
  EXPECT_EQ(clean_prompt("&" + references).size(), 1 + 4 * (400 - 100 - 2));
}

TEST(HtmlEntities, AreResolvedAsBrowsersDo) {
  const auto unescaped = [](std::string_view text) {
    return encode_utf8(unescape_html(decode_utf8(text)));
  };
  EXPECT_EQ(unescaped("&lt;b&gt; &amp;lt; &notit; &notin; &copy2 &foo; &; &"),
            "<b> &lt; ¬it; ∉ ©2 &foo; &; &");
  EXPECT_EQ(unescaped("&#65;&#x42&#128;&#0;&#x110000;&#xD800;[&#1;]&#;&#x;"),
            "AB€\uFFFD\uFFFD\uFFFD[]&#;&#x;");
  EXPECT_EQ(unescaped("&#" + std::string(5000, '9') + ";"), "\uFFFD");
  EXPECT_EQ(unescaped("&CounterClockwiseContourIntegral;"), "∳");
  EXPECT_EQ(unescaped("&ThickSpace;"), "\u205F\u200A");
}

}  // namespace
}  // namespace backlot
