// Lengths of texts, and cutting to them.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "enhance/check.h"

namespace backlot {

// `text` up to the end of its last whole sentence, if that is at least `min_words` long; else up to
// its last comma under the same condition; else "".
std::string without_unfinished_end(const std::string& text, int64_t min_words);

// The longest beginning of `text` that ends with a sentence or before a comma, is at least
// `min_words` long and is `good`; "" if there is none.
std::string longest_beginning(const std::string& text, int64_t min_words,
                              const std::function<bool(std::u32string_view)>& good);

// `text`, or the longest part of its beginning that keeps within the limits: up to a sentence's
// end if that loses little, else up to a comma, else to a word that can end a phrase.
std::string cut_to_limits(const std::string& text, const TextLimits& limits,
                          const TokenCounter& count_tokens);

}  // namespace backlot
