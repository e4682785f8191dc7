#include <algorithm>

#include "text/added_tokens.h"
#include "text/regex.h"
#include "text/unicode.h"

namespace backlot {
namespace {

uint64_t edge(uint32_t node, char byte) {
  return uint64_t{node} << 8 | static_cast<unsigned char>(byte);
}

bool is_continuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

// The first character of `text`, which is not empty.
std::string_view first_character(std::string_view text) {
  size_t length = 1;
  while (length < text.size() && is_continuation(text[length])) ++length;
  return text.substr(0, length);
}

std::string_view last_character(std::string_view text) {
  size_t begin = text.size() - 1;
  while (begin > 0 && is_continuation(text[begin])) --begin;
  return text.substr(begin);
}

bool is_space(std::string_view character) { return is_white_space(decode_utf8(character)[0]); }

bool is_word(std::string_view character) {
  static const Regex word(R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{200c}\x{200d}])");
  return word.found_in(character);
}

}  // namespace

void TokenMatcher::add(std::string_view spelling, const AddedToken& token) {
  if (spelling.empty()) return;
  uint32_t node = 0;
  for (const char byte : spelling) {
    const auto [at, added] = edges_.try_emplace(edge(node, byte), nodes_);
    if (added) ++nodes_;
    node = at->second;
  }
  tokens_.insert_or_assign(node, token);
}

std::optional<TokenMatcher::Match> TokenMatcher::next_match(std::string_view text,
                                                            size_t from) const {
  for (size_t begin = from; begin < text.size(); ++begin) {
    std::optional<Match> longest;
    uint32_t node = 0;
    for (size_t at = begin; at < text.size(); ++at) {
      const auto next = edges_.find(edge(node, text[at]));
      if (next == edges_.end()) break;
      node = next->second;
      const auto found = tokens_.find(node);
      if (found != tokens_.end()) longest = Match{begin, at + 1, &found->second};
    }
    if (longest) return longest;
  }
  return std::nullopt;
}

std::vector<TextPart> TokenMatcher::split(std::string_view text) const {
  std::vector<TextPart> parts;
  size_t done = 0;
  for (size_t from = 0; const auto match = next_match(text, from);) {
    auto [begin, end, token] = *match;
    from = end;
    if (token->single_word) {
      const bool word_before = begin > 0 && is_word(last_character(text.substr(0, begin)));
      const bool word_after = end < text.size() && is_word(first_character(text.substr(end)));
      if (word_before || word_after) continue;
    }
    if (token->left_strip) {
      // Spaces that the token before has taken are gone.
      while (begin > done && is_space(last_character(text.substr(0, begin))))
        begin -= last_character(text.substr(0, begin)).size();
      begin = std::max(begin, done);
    }
    if (token->right_strip)
      while (end < text.size() && is_space(first_character(text.substr(end))))
        end += first_character(text.substr(end)).size();
    if (done < begin) parts.push_back({text.substr(done, begin - done)});
    parts.push_back({text.substr(begin, end - begin), token->id});
    done = end;
  }
  if (done < text.size()) parts.push_back({text.substr(done)});
  return parts;
}

AddedTokenEncoder::AddedTokenEncoder(const std::vector<AddedToken>& tokens, Normalise normalise)
    : normalise_(std::move(normalise)) {
  for (const auto& token : tokens) {
    if (token.normalized)
      normalised_.add(normalise_(token.content), token);
    else
      raw_.add(token.content, token);
  }
}

std::vector<int64_t> AddedTokenEncoder::operator()(std::string_view text,
                                                   const Encode& encode) const {
  const std::string valid = encode_utf8(decode_utf8(text));
  std::vector<int64_t> ids;
  for (const auto& part : raw_.split(valid)) {
    if (part.id >= 0) {
      ids.push_back(part.id);
      continue;
    }
    const std::string normalised = normalise_(part.text);
    for (const auto& inner : normalised_.split(normalised)) {
      if (inner.id >= 0)
        ids.push_back(inner.id);
      else
        encode(inner.text, ids);
    }
  }
  return ids;
}

}  // namespace backlot
