// The text encodings that picture containers use, to and from UTF-8. Malformed input becomes
// U+FFFD.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/utf8.h"

namespace backlot {

enum class ByteOrder { little, big };

std::string encode_utf16(std::string_view utf8, ByteOrder order);
std::string decode_utf16(std::string_view utf16, ByteOrder order);

// ISO 8859-1 as PNG's tEXt takes it (printable characters, tab and newline), or nothing if `utf8`
// holds any other character.
std::optional<std::string> to_latin1(std::string_view utf8);
std::string from_latin1(std::string_view latin1);

}  // namespace backlot
