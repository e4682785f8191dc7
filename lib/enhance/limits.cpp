#include "enhance/limits.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/install.h"
#include "base/text.h"
#include "base/utf8.h"
#include "enhance/language.h"
#include "enhance/words.h"
#include "text/clean_prompt.h"
#include "text/clip_tokenizer.h"
#include "text/unicode.h"
#include "text/unigram_tokenizer.h"

namespace backlot {
namespace {

constexpr std::u32string_view full_stops = U".!?…", dense_full_stops = U"。！？";
constexpr std::u32string_view pauses = U",;:—", dense_pauses = U"，；：、";
constexpr std::u32string_view closing_marks = U"\"'”’»)）」』";

enum class End { sentence, clause, word };

bool is_one_of(char32_t c, std::u32string_view set) { return set.find(c) != set.npos; }

// Whether a part that is cut off before `at` ends in such a way.
bool ends_there(const std::u32string& text, size_t at, End end) {
  if (at == 0 || at > text.size()) return false;
  const bool before_space = at == text.size() || is_white_space(text[at]);
  const char32_t last = text[at - 1];
  if (end == End::word)
    return before_space || is_dense(script_of(last)) || is_dense(script_of(text[at]));
  if (end == End::clause)
    return (is_one_of(last, pauses) && before_space) || is_one_of(last, dense_pauses);
  const size_t inside = at >= 2 && is_one_of(last, closing_marks) ? at - 2 : at - 1;
  return (is_one_of(text[inside], full_stops) && before_space) ||
         is_one_of(text[inside], dense_full_stops);
}

// The last such end at or before `from`; 0 if there is none.
size_t last_end(const std::u32string& text, size_t from, End end) {
  for (size_t at = from; at > 0; --at)
    if (ends_there(text, at, end)) return at;
  return 0;
}

std::u32string first(const std::u32string& text, size_t length) { return text.substr(0, length); }

std::u32string without_pause(std::u32string text) {
  while (!text.empty() && (is_one_of(text.back(), pauses) || is_one_of(text.back(), dense_pauses) ||
                           is_one_of(text.back(), U"-–") || is_white_space(text.back())))
    text.pop_back();
  return text;
}

// Without words at the end that need another one after them: "a tree with a".
std::u32string without_dangling_words(std::u32string text) {
  for (;;) {
    text = without_pause(std::move(text));
    const size_t space = text.rfind(U' ');
    if (space == text.npos || !is_function_word(lowercase(text.substr(space + 1)))) return text;
    text.resize(space);
  }
}

// On the safe side of what UMT5's vocabulary of 256,000 pieces makes of words.
int64_t estimate_umt5(std::string_view text) {
  const std::u32string letters = decode_utf8(text);
  int64_t tokens = 1;
  for (const auto& word : words_of(letters)) {
    const int64_t letters_a_piece = script_of(word.front()) == Script::latin ? 4 : 3;
    tokens += 1 + (std::ssize(word) - 1) / letters_a_piece;
  }
  for (const char32_t c : letters)
    tokens += script_of(c) == Script::none && !is_white_space(c) && !(c >= U'0' && c <= U'9');
  return tokens;
}

}  // namespace

TokenCounter token_counter(TextEncoder encoder, const std::filesystem::path& tokenizer) {
  if (encoder == TextEncoder::umt5 && tokenizer.empty()) return estimate_umt5;
  if (encoder == TextEncoder::umt5)
    return [umt5 = UnigramTokenizer::load(tokenizer)](std::string_view text) {
      constexpr int64_t marks = 1;  // </s>
      return std::ssize(umt5.encode(clean_prompt(text))) + marks;
    };
  const auto folder =
      tokenizer.empty() ? shipped_file("models/clip-tokenizer") : std::optional(tokenizer);
  if (!folder)
    throw LoadError("models/clip-tokenizer", "the tokenizer that counts CLIP's tokens is not there",
                    "install backlot whole");
  constexpr int64_t marks = 2;  // bos and eos
  return [clip = ClipTokenizer::load(*folder)](std::string_view text) {
    return std::ssize(clip.encode(text)) + marks;
  };
}

std::string without_unfinished_end(const std::string& text, int64_t min_words) {
  const std::u32string letters = decode_utf8(text);
  for (const End end : {End::sentence, End::clause}) {
    const size_t at = last_end(letters, letters.size(), end);
    const std::u32string kept = first(letters, at);
    if (at > 0 && count_words(kept) >= min_words)
      return encode_utf8(end == End::sentence ? kept : without_pause(kept));
  }
  return "";
}

std::string longest_beginning(const std::string& text, int64_t min_words,
                              const std::function<bool(std::u32string_view)>& good) {
  const std::u32string letters = decode_utf8(text);
  for (size_t at = letters.size(); at > 0; --at) {
    const bool sentence = ends_there(letters, at, End::sentence);
    if (!sentence && !ends_there(letters, at, End::clause)) continue;
    const std::u32string kept = sentence ? first(letters, at) : without_pause(first(letters, at));
    if (count_words(kept) < min_words) return "";
    if (good(kept)) return encode_utf8(kept);
  }
  return "";
}

std::string cut_to_limits(const std::string& text, const TextLimits& limits,
                          const TokenCounter& count_tokens) {
  const std::u32string letters = decode_utf8(text);
  std::vector<size_t> borders;
  for (size_t at = 1; at <= letters.size(); ++at)
    if (ends_there(letters, at, End::word)) borders.push_back(at);
  const auto fits = [&](size_t at) {
    const std::u32string part = first(letters, at);
    return count_words(part) <= limits.max_words &&
           count_tokens(encode_utf8(part)) <= limits.max_tokens;
  };
  if (fits(letters.size())) return text;
  const auto beyond = std::ranges::partition_point(borders, fits);
  if (beyond == borders.begin()) return "";
  const size_t longest = *std::prev(beyond);
  const size_t sentence = last_end(letters, longest, End::sentence);
  const size_t clause = last_end(letters, longest, End::clause);
  const int64_t all = count_words(first(letters, longest));
  const auto long_enough = [&](size_t at, int64_t least) {
    return at > 0 && count_words(first(letters, at)) >= std::max(least, limits.min_words);
  };
  if (long_enough(sentence, all * 3 / 5)) return encode_utf8(first(letters, sentence));
  if (long_enough(clause, all / 2)) return encode_utf8(without_pause(first(letters, clause)));
  if (long_enough(sentence, 0)) return encode_utf8(first(letters, sentence));
  return encode_utf8(without_dangling_words(first(letters, longest)));
}

}  // namespace backlot
