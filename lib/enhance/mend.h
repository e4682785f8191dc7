// What small language models put around a text, taken away.
#pragma once

#include <string>
#include <string_view>

namespace backlot {

struct MendedText {
  std::string text;    // one paragraph of well-formed UTF-8, words one space apart
  std::string reason;  // why it can't be mended, to follow "the text"; "" otherwise
};

// Any bytes. `min_words`: what is left in place rather than taken away, where both can be.
MendedText mend(std::string_view made, int64_t min_words);

// "is a refusal", "talks about the task", … or "": what no mending helps against. Words that the
// prompt has as well are no sign.
std::string chatter_in(const std::string& text, const std::string& prompt);

}  // namespace backlot
