#include "enhance/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <unordered_map>
#include <vector>

#include "base/text.h"
#include "base/utf8.h"
#include "enhance/language.h"
#include "enhance/limits.h"
#include "enhance/mend.h"
#include "enhance/words.h"

namespace backlot {
namespace {

using Words = std::vector<std::u32string>;

// The words from `at` on, joined.
std::u32string sequence(const Words& words, size_t at, size_t length) {
  std::u32string out;
  for (size_t i = at; i < at + length; ++i) out += words[i] + U' ';
  return out;
}

// How often the sequence of `length` words that is there most often is there.
int64_t most_repeated(const Words& words, size_t length) {
  std::unordered_map<std::u32string, int64_t> counts;
  int64_t most = 0;
  for (size_t at = 0; at + length <= words.size(); ++at)
    most = std::max(most, ++counts[sequence(words, at, length)]);
  return most;
}

double distinct_share(const Words& words, size_t length) {
  if (words.size() < length) return 1;
  std::set<std::u32string> distinct;
  const size_t all = words.size() - length + 1;
  for (size_t at = 0; at < all; ++at) distinct.insert(sequence(words, at, length));
  return static_cast<double>(distinct.size()) / static_cast<double>(all);
}

bool is_dense_text(const Words& words) {
  return !words.empty() && is_dense(script_of(words[words.size() / 2].front()));
}

bool repeats_itself(std::u32string_view text) {
  const Words words = words_of(text);
  // Characters repeat more often than words.
  const bool dense = is_dense_text(words);
  for (size_t i = 0; !dense && i + 2 < words.size(); ++i)
    if (words[i] == words[i + 1] && words[i] == words[i + 2]) return true;
  constexpr size_t enough_for_shares = 20;
  constexpr double least_share = 0.75;
  return most_repeated(words, dense ? 6 : 4) > 2 ||
         (words.size() >= enough_for_shares && distinct_share(words, dense ? 5 : 3) < least_share);
}

// Nothing is said twice in the same words.
bool says_all_once(std::u32string_view text) {
  const Words words = words_of(text);
  return most_repeated(words, is_dense_text(words) ? 6 : 3) <= 1 && !repeats_itself(text);
}

// Small models begin well and then go round in circles: the text up to there. A long text may say
// a thing twice.
std::string without_loop(const std::string& text, int64_t min_words) {
  constexpr int64_t long_text = 80;
  const std::u32string letters = decode_utf8(text);
  const bool loops = repeats_itself(letters);
  if (!loops && (count_words(letters) > long_text || says_all_once(letters))) return text;
  const std::string kept = longest_beginning(text, min_words, says_all_once);
  return kept.empty() && !loops ? text : kept;
}

}  // namespace

Verdict check_text(std::string_view made, std::string_view prompt, const TextLimits& limits,
                   const TokenCounter& count_tokens, bool cut_off) {
  const auto refused = [](std::string reason) { return Verdict{"", std::move(reason)}; };
  auto [text, reason] = mend(made, limits.min_words);
  if (!reason.empty()) return refused(std::move(reason));
  if (text.empty()) return refused("is empty");
  const size_t whole = text.size();
  text = without_loop(text, limits.min_words);
  if (text.empty()) return refused("repeats itself");
  if (cut_off && text.size() == whole) {
    text = without_unfinished_end(text, limits.min_words);
    if (text.empty()) return refused("has no end within its tokens");
  }
  const std::string original = encode_utf8(decode_utf8(prompt));
  if (std::string chatter = chatter_in(text, original); !chatter.empty())
    return refused(std::move(chatter));
  text = cut_to_limits(text, limits, count_tokens);
  const std::u32string letters = decode_utf8(text), wanted = decode_utf8(original);
  if (const int64_t words = count_words(letters); words < limits.min_words)
    return refused(fmt::format("is too short: {} words of at least {}", words, limits.min_words));
  if (words_of(letters) == words_of(wanted)) return refused("is the prompt itself");
  if (changes_language(wanted, letters)) return refused("is in another language");
  if (loses_subject(wanted, letters)) return refused("loses the prompt's subject");
  return {std::move(text), ""};
}

}  // namespace backlot
