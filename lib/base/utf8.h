// UTF-8 to code points and back.
#pragma once

#include <string>
#include <string_view>

namespace backlot {

// The code points of UTF-8 text. Each maximal ill-formed part becomes one U+FFFD, as the Unicode
// standard recommends and Python's errors="replace" does; so the result has no surrogates.
std::u32string decode_utf8(std::string_view bytes);

std::string encode_utf8(std::u32string_view text);

}  // namespace backlot
