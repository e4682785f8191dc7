#include "enhance/words.h"

#include <algorithm>
#include <array>

#include "text/unicode.h"

namespace backlot {
namespace {

struct Range {
  char32_t first, last;
  Script script;
};

// Blocks of Unicode 14, in order.
constexpr Range ranges[] = {
    {U'A', U'Z', Script::latin},        {U'a', U'z', Script::latin},
    {0x00AA, 0x00AA, Script::latin},    {0x00BA, 0x00BA, Script::latin},
    {0x00C0, 0x00D6, Script::latin},    {0x00D8, 0x00F6, Script::latin},
    {0x00F8, 0x02AF, Script::latin},    {0x0370, 0x03FF, Script::greek},
    {0x0400, 0x052F, Script::cyrillic}, {0x0531, 0x0556, Script::other},
    {0x0561, 0x0587, Script::other},    {0x0591, 0x05F4, Script::hebrew},
    {0x0610, 0x061A, Script::arabic},   {0x0620, 0x065F, Script::arabic},
    {0x066E, 0x06EF, Script::arabic},   {0x06FA, 0x074F, Script::arabic},
    {0x0750, 0x077F, Script::arabic},   {0x08A0, 0x08FF, Script::arabic},
    {0x0900, 0x0963, Script::other},    {0x0966, 0x0DF3, Script::other},
    {0x0E01, 0x0EFF, Script::thai},     {0x0F00, 0x0FFF, Script::other},
    {0x1000, 0x109F, Script::thai},     {0x10A0, 0x10FF, Script::other},
    {0x1100, 0x11FF, Script::hangul},   {0x1200, 0x139F, Script::other},
    {0x1780, 0x17FF, Script::thai},     {0x1E00, 0x1EFF, Script::latin},
    {0x1F00, 0x1FFF, Script::greek},    {0x3005, 0x3007, Script::han},
    {0x3041, 0x3096, Script::kana},     {0x309D, 0x309F, Script::kana},
    {0x30A1, 0x30FA, Script::kana},     {0x30FC, 0x30FF, Script::kana},
    {0x3131, 0x318E, Script::hangul},   {0x31F0, 0x31FF, Script::kana},
    {0x3400, 0x4DBF, Script::han},      {0x4E00, 0x9FFF, Script::han},
    {0xAC00, 0xD7A3, Script::hangul},   {0xF900, 0xFAFF, Script::han},
    {0xFB50, 0xFDFF, Script::arabic},   {0xFE70, 0xFEFC, Script::arabic},
    {0xFF21, 0xFF3A, Script::latin},    {0xFF41, 0xFF5A, Script::latin},
    {0xFF66, 0xFF9D, Script::kana},     {0x20000, 0x3FFFD, Script::han},
};

bool is_digit(char32_t c) { return c >= U'0' && c <= U'9'; }

bool is_joiner(char32_t c) {
  return c == U'\'' || c == 0x2019 || (c >= 0x0300 && c <= 0x036F) || c == 0x200C || c == 0x200D;
}

}  // namespace

Script script_of(char32_t c) {
  const auto after = std::ranges::upper_bound(ranges, c, {}, &Range::first);
  if (after == std::begin(ranges)) return Script::none;
  const Range& range = *std::prev(after);
  return c <= range.last ? range.script : Script::none;
}

std::vector<std::u32string> words_of(std::u32string_view text) {
  const std::u32string lower = lowercase(text);
  std::vector<std::u32string> words;
  bool inside = false;
  for (size_t i = 0; i < lower.size(); ++i) {
    const char32_t c = lower[i];
    const Script script = script_of(c);
    if (is_dense(script)) {
      words.emplace_back(1, c);
      inside = false;
    } else if (script != Script::none || is_digit(c)) {
      if (!inside) words.emplace_back();
      words.back() += c;
      inside = true;
    } else if (inside && is_joiner(c) && i + 1 < lower.size() &&
               (script_of(lower[i + 1]) != Script::none || is_joiner(lower[i + 1]))) {
      words.back() += c == 0x2019 ? U'\'' : c;
    } else {
      inside = false;
    }
  }
  return words;
}

int64_t count_words(std::u32string_view text) {
  int64_t quarters = 0;
  for (const auto& word : words_of(text)) {
    const Script script = script_of(word.front());
    quarters += script == Script::thai ? 1 : is_dense(script) ? 2 : 4;
  }
  return (quarters + 3) / 4;
}

std::u32string stem_of(std::u32string word) {
  // Of English, German, French, Spanish, Italian and Russian; the longest that fits goes.
  constexpr std::u32string_view endings[] = {
      U"ings", U"ing", U"ies", U"ied", U"ern", U"'s", U"ed", U"es", U"er", U"en", U"em", U"os",
      U"as",   U"ый",  U"ая",  U"ое",  U"ые",  U"ой", U"ом", U"ам", U"ах", U"s",  U"e",  U"y",
      U"n",    U"o",   U"a",   U"i",   U"а",   U"ы",  U"и",  U"е",  U"у",  U"я",  U"ь"};
  constexpr size_t least = 3;
  for (const auto ending : endings)
    if (word.ends_with(ending) && word.size() >= ending.size() + least) {
      word.resize(word.size() - ending.size());
      break;
    }
  if (word.size() > least && word.back() == word[word.size() - 2]) word.pop_back();
  return word;
}

}  // namespace backlot
