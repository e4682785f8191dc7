#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>

namespace backlot {
namespace {

int combining_class(char32_t c) {
  return utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class;
}

void append_decomposed(char32_t c, std::u32string& out) {
  constexpr size_t longest = 8;  // canonical decompositions have at most four code points
  utf8proc_int32_t parts[longest];
  int boundary = 0;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_STABLE);
  const auto count =
      utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts, longest, options, &boundary);
  if (count < 0 || count > static_cast<utf8proc_ssize_t>(longest)) {
    out += c;
    return;
  }
  for (utf8proc_ssize_t i = 0; i < count; ++i) out += static_cast<char32_t>(parts[i]);
}

// Canonical ordering: runs of combining marks, by class, in the order of the text within a class.
void reorder_marks(std::u32string& text) {
  const auto is_mark = [](char32_t c) { return combining_class(c) != 0; };
  for (auto at = text.begin(); at != text.end();) {
    const auto first = std::find_if(at, text.end(), is_mark);
    const auto last = std::find_if_not(first, text.end(), is_mark);
    if (last - first > 1)
      std::stable_sort(first, last, [](char32_t a, char32_t b) {
        return combining_class(a) < combining_class(b);
      });
    at = last;
  }
}

}  // namespace

std::u32string nfc(std::u32string_view text) {
  constexpr char32_t first_affected = 0x300;  // no composition starts or ends below
  if (std::all_of(text.begin(), text.end(), [](char32_t c) { return c < first_affected; }))
    return std::u32string(text);
  std::u32string out;
  out.reserve(text.size());
  for (const char32_t c : text) append_decomposed(c, out);
  reorder_marks(out);
  static_assert(sizeof(char32_t) == sizeof(utf8proc_int32_t));
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE);
  const auto length = utf8proc_normalize_utf32(reinterpret_cast<utf8proc_int32_t*>(out.data()),
                                               static_cast<utf8proc_ssize_t>(out.size()), options);
  out.resize(static_cast<size_t>(std::max<utf8proc_ssize_t>(length, 0)));
  return out;
}

std::u32string lowercase(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (const char32_t c : text) {
    if (c == 0x130)
      out += U"i\u0307";
    else
      out += static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
  }
  return out;
}

std::u32string uppercase(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (const char32_t c : text) {
    if (c == 0xDF)
      out += U"SS";
    else
      out += static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c)));
  }
  return out;
}

bool is_in_category(char32_t c, std::string_view category) {
  const char* name = utf8proc_category_string(static_cast<utf8proc_int32_t>(c));
  return std::string_view(name).starts_with(category);
}

bool is_white_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= '\t' && c <= '\r');
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

}  // namespace backlot
