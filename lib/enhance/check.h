// Whether what a language model wrote can stand for a prompt, and the mending of small defects.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "spec/style.h"

namespace backlot {

// How many tokens a text encoder makes of a text, its marks included.
using TokenCounter = std::function<int64_t(std::string_view)>;

// Loads the tokenizer in that folder, which is the encoder's; where none is named, the shipped one
// for CLIP, and for UMT5 there is an estimate. Throws LoadError if it is not there or damaged.
TokenCounter token_counter(TextEncoder encoder, const std::filesystem::path& tokenizer = {});

struct Verdict {
  std::string text;    // one paragraph, ready for use; "" if refused
  std::string reason;  // why it is refused, to follow "the text"; "" if it is good
  bool good() const { return reason.empty(); }
};

// Mended: escape sequences and control characters, the model's special tokens, a thinking part, a
// leading "Sure! Here is …:" or "Prompt:", quotes around all of it, Markdown marks, remarks after
// it, the unfinished sentence of a text that was `cut_off`, the circles
// in which small models end, and what exceeds the limits (cut at a
// sentence's end, else at a comma, else between words).
// Refused: too short, several paragraphs, a list, a refusal, talk about the task, words that
// repeat, another language than the prompt's, a text without half of the prompt's content words
// (by their stems; for Han, kana and Hangul by their characters), the prompt itself.
// Takes any bytes.
Verdict check_text(std::string_view made, std::string_view prompt, const TextLimits& limits,
                   const TokenCounter& count_tokens, bool cut_off);

}  // namespace backlot
