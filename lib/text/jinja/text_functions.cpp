#include "text/jinja/text_functions.h"

#include <algorithm>

#include "base/utf8.h"
#include "text/jinja/lexer.h"
#include "text/unicode.h"

namespace backlot::jinja {
namespace {

bool ends_line(char32_t c) {
  return (c >= '\n' && c <= '\r') || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

std::vector<std::string> words(const std::u32string& text, int64_t most) {
  std::vector<std::string> result;
  size_t at = 0;
  const auto skip = [&](bool space) {
    while (at < text.size() && is_python_space(text[at]) == space) ++at;
  };
  for (skip(true); at < text.size(); skip(true)) {
    const size_t begin = at;
    if (most >= 0 && static_cast<int64_t>(result.size()) == most) {
      result.push_back(encode_utf8(text.substr(begin)));
      break;
    }
    skip(false);
    result.push_back(encode_utf8(text.substr(begin, at - begin)));
  }
  return result;
}

}  // namespace

std::string stripped(std::string_view text, const std::optional<std::string>& characters,
                     Side side) {
  const std::u32string all = decode_utf8(text);
  const std::u32string set = decode_utf8(characters.value_or(""));
  const auto goes = [&](char32_t c) {
    return characters ? set.find(c) != std::u32string::npos : is_python_space(c);
  };
  size_t begin = 0, end = all.size();
  if (side != Side::right)
    while (begin < end && goes(all[begin])) ++begin;
  if (side != Side::left)
    while (end > begin && goes(all[end - 1])) --end;
  return encode_utf8(std::u32string_view(all).substr(begin, end - begin));
}

std::string upper(std::string_view text) { return encode_utf8(uppercase(decode_utf8(text))); }
std::string lower(std::string_view text) { return encode_utf8(lowercase(decode_utf8(text))); }

std::string capitalised(std::string_view text) {
  const std::u32string all = decode_utf8(text);
  return encode_utf8(uppercase(all.substr(0, 1)) +
                     lowercase(all.substr(std::min<size_t>(1, all.size()))));
}

std::string replaced(std::string_view text, std::string_view old, std::string_view by,
                     int64_t count) {
  std::string result;
  if (old.empty()) {  // before each character and at the end
    for (const char32_t c : decode_utf8(text)) {
      if (count-- != 0)
        result += by;
      else
        ++count;
      result += encode_utf8({&c, 1});
    }
    return count == 0 ? result : result += by;
  }
  while (count != 0) {
    const size_t at = text.find(old);
    if (at == std::string_view::npos) break;
    result += text.substr(0, at);
    result += by;
    text.remove_prefix(at + old.size());
    --count;
  }
  return result += text;
}

std::vector<std::string> lines_of(std::string_view text, bool keep_ends) {
  const std::u32string all = decode_utf8(text);
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < all.size();) {
    size_t end = begin;
    while (end < all.size() && !ends_line(all[end])) ++end;
    size_t after = std::min(end + 1, all.size());
    if (end + 1 < all.size() && all[end] == '\r' && all[end + 1] == '\n') ++after;
    lines.push_back(encode_utf8(all.substr(begin, (keep_ends ? after : end) - begin)));
    begin = after;
  }
  return lines;
}

std::vector<std::string> split(std::string_view text, const std::optional<std::string>& separator,
                               int64_t most, Side from) {
  if (!separator) {
    std::u32string all = decode_utf8(text);
    if (from != Side::right) return words(all, most);
    std::reverse(all.begin(), all.end());
    std::vector<std::string> parts = words(all, most);
    for (std::string& part : parts) {
      std::u32string letters = decode_utf8(part);
      std::reverse(letters.begin(), letters.end());
      part = encode_utf8(letters);
    }
    std::reverse(parts.begin(), parts.end());
    return parts;
  }
  std::vector<std::string> parts;
  const auto is_full = [&] { return most >= 0 && static_cast<int64_t>(parts.size()) == most; };
  while (!is_full()) {
    const size_t at = from == Side::right ? text.rfind(*separator) : text.find(*separator);
    if (at == std::string_view::npos) break;
    const size_t after = at + separator->size();
    parts.emplace_back(from == Side::right ? text.substr(after) : text.substr(0, at));
    text = from == Side::right ? text.substr(0, at) : text.substr(after);
  }
  parts.emplace_back(text);
  if (from == Side::right) std::reverse(parts.begin(), parts.end());
  return parts;
}

}  // namespace backlot::jinja
