// Scripts and words, as far as checks on a text need them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace backlot {

// `other` is every further script that is written with spaces; `none` is no letter.
enum class Script { none, latin, greek, cyrillic, han, kana, hangul, arabic, hebrew, thai, other };

Script script_of(char32_t c);

// Written without spaces between words.
inline bool is_dense(Script script) {
  return script == Script::han || script == Script::kana || script == Script::thai;
}

// In lower case, in reading order: runs of letters and digits, with apostrophes inside; a character
// of a dense script is a word by itself.
std::vector<std::u32string> words_of(std::u32string_view text);

// The length that people would give a text: spaced words, half a word for a Han character or a
// kana, a quarter for a Thai letter; rounded up.
int64_t count_words(std::u32string_view text);

// A Latin, Greek or Cyrillic word without a common ending: "running" and "runs" give "run". Words
// of one meaning mostly have one stem; nothing more is promised.
std::u32string stem_of(std::u32string word);

}  // namespace backlot
