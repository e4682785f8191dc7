// Unicode as tokenizers need it: code points, normal form C, lower case, white space.
#pragma once

#include <string>
#include <string_view>

#include "base/utf8.h"

namespace backlot {

// Canonical composition (NFC). Takes O(n log n) whatever the text, unlike utf8proc's own reordering
// of long runs of combining marks.
std::u32string nfc(std::u32string_view text);

// Full lower-casing of each character by itself: U+0130 becomes two, final sigma has no rule.
std::u32string lowercase(std::u32string_view text);

// Upper-casing of each character by itself; U+00DF becomes two.
std::u32string uppercase(std::u32string_view text);

// Whether the general category begins so: "L" for letters, "Nd" for decimal digits.
bool is_in_category(char32_t c, std::string_view category);

// The White_Space property.
bool is_white_space(char32_t c);

// White_Space as the inside of a PCRE2 character class. PCRE2's \s is no substitute: it also takes
// U+180E, which lost the property in Unicode 6.3.
inline constexpr char white_space_class[] =
    R"(\x09-\x0d\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

}  // namespace backlot
