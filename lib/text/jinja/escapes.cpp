#include "text/jinja/escapes.h"

#include <charconv>
#include <stdexcept>

#include "base/utf8.h"

namespace backlot::jinja {
namespace {

constexpr std::string_view letters = "\\'\"abfnrtv";
constexpr std::string_view meanings = "\\'\"\a\b\f\n\r\t\v";

// The number that `digits` in the base spell; throws if they are not all there.
char32_t code_point(std::string_view digits, size_t expected, int base) {
  uint32_t code = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), code, base);
  if (digits.size() != expected || error != std::errc() || end != digits.data() + digits.size() ||
      code > 0x10FFFF)
    throw std::invalid_argument("a text has an incomplete escape");
  return code;
}

size_t octal_digits(std::string_view text) {
  size_t count = 0;
  while (count < 3 && count < text.size() && text[count] >= '0' && text[count] <= '7') ++count;
  return count;
}

}  // namespace

std::string unescaped(std::string_view literal) {
  std::string result;
  while (!literal.empty()) {
    const size_t backslash = literal.find('\\');
    result += literal.substr(0, backslash);
    if (backslash == std::string_view::npos) break;
    literal.remove_prefix(backslash + 1);
    if (literal.empty()) throw std::invalid_argument("a text ends with a backslash");
    const char c = literal[0];
    size_t used = 1;
    char32_t code = 0;
    if (c == '\n') {
      literal.remove_prefix(1);
      continue;
    }
    if (const size_t known = letters.find(c); known != std::string_view::npos) {
      result += meanings[known];
      literal.remove_prefix(1);
      continue;
    }
    if (c == 'x' || c == 'u' || c == 'U') {
      const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      code = code_point(literal.substr(1, digits), digits, 16);
      used = 1 + digits;
    } else if (const size_t digits = octal_digits(literal); digits > 0) {
      code = code_point(literal.substr(0, digits), digits, 8);
      used = digits;
    } else if (c == 'N') {
      throw std::invalid_argument("\\N{…} is not supported");
    } else {
      result += '\\';
      continue;
    }
    // Half of a surrogate pair is no character.
    result += encode_utf8(std::u32string(1, code >= 0xD800 && code <= 0xDFFF ? 0xFFFD : code));
    literal.remove_prefix(used);
  }
  return result;
}

}  // namespace backlot::jinja
