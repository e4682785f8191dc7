// Ids that come one by one, as text for a terminal.
#pragma once

#include <string>
#include <string_view>

#include "text/language_tokenizer.h"

namespace backlot {

// Gives text in whole characters only: bytes that may still become a character are held back. What
// add() and finish() give, put together, is LanguageTokenizer::decode of all ids. One for each
// sequence; not safe for use from two threads at once.
class Detokenizer {
 public:
  explicit Detokenizer(LanguageTokenizer tokenizer,
                       SpecialTokensShown special = SpecialTokensShown::no);

  // What `id` completes, often nothing. Valid until the next call.
  std::string_view add(int32_t id);

  // What was held back: U+FFFD or nothing. Ready for another sequence afterwards.
  std::string_view finish();

 private:
  LanguageTokenizer tokenizer_;
  SpecialTokensShown special_;
  std::string held_;  // fewer than four bytes
  std::string text_;
};

}  // namespace backlot
