#include <fmt/format.h>

#include <stdexcept>

#include "text/pre_tokenizer.h"
#include "text/unicode.h"

namespace backlot {
namespace {

constexpr char no_white_space_class[] =
    R"(\x00-\x08\x0e-\x1f\x21-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff})"
    R"(\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
constexpr char word_class[] = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";

// What `\c` means inside a class, "" if the two agree on it.
std::string members(char c) {
  switch (c) {
    case 's':
      return white_space_class;
    case 'S':
      return no_white_space_class;
    case 'd':
      return R"(\p{Nd})";
    case 'D':
      return R"(\P{Nd})";
    case 'w':
      return word_class;
    default:
      return "";
  }
}

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// Escapes of letters that mean the same to both.
bool is_common(char c) { return std::string_view("rntfvpPxA").find(c) != std::string_view::npos; }

[[noreturn]] void refuse(std::string_view what, size_t at) {
  throw std::invalid_argument(fmt::format("at {}: {}", at, what));
}

}  // namespace

std::string from_oniguruma(const std::string& pattern) {
  std::string result;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\') {
      if (++i == pattern.size()) refuse("a backslash ends it", i);
      const char escaped = pattern[i];
      if (const std::string set = members(escaped); !set.empty())
        result += in_class ? set : "[" + set + "]";
      else if (escaped == 'W' && !in_class)
        result += fmt::format("[^{}]", word_class);
      else if (is_letter_or_digit(escaped) && !is_common(escaped))
        refuse(fmt::format("\\{} is not supported", escaped), i);
      else
        result += {c, escaped};
      continue;
    }
    if (in_class) {
      if (c == '[') refuse("a set inside a set is not supported", i);
      if (c == '&' && pattern.compare(i, 2, "&&") == 0)
        refuse("an intersection of sets is not supported", i);
      in_class = c != ']';
    } else if (c == '[') {
      in_class = true;
      if (pattern.compare(i, 2, "[]") == 0 || pattern.compare(i, 3, "[^]") == 0)
        refuse("an empty set", i);
    } else if (c == '(' && pattern.compare(i, 2, "(*") == 0) {
      refuse("(* is not supported", i);
    } else if (c == '(' && pattern.compare(i, 2, "(?") == 0) {
      // Groups, look-around and options only: no recursion, conditions or callouts.
      const char kind = i + 2 < pattern.size() ? pattern[i + 2] : '\0';
      if (std::string_view(":=!<>i").find(kind) == std::string_view::npos || kind == '\0')
        refuse("this kind of group is not supported", i);
    }
    // Lines begin and end inside of a text as well.
    if (!in_class && (c == '^' || c == '$'))
      result += fmt::format("(?m:{})", c);
    else
      result += c;
  }
  return result;
}

}  // namespace backlot
