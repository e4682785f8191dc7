#include "media/unicode.h"

#include <cstdint>

namespace backlot {
namespace {

constexpr char32_t replacement = 0xFFFD;

bool is_surrogate(char32_t c) { return c >= 0xD800 && c <= 0xDFFF; }

}  // namespace

std::string encode_utf16(std::string_view utf8, ByteOrder order) {
  std::string out;
  const auto put = [&](char32_t unit) {
    const char high = static_cast<char>(unit >> 8), low = static_cast<char>(unit);
    out += order == ByteOrder::big ? high : low;
    out += order == ByteOrder::big ? low : high;
  };
  for (const char32_t c : decode_utf8(utf8)) {
    if (c < 0x10000) {
      put(c);
    } else {
      put(0xD800 + ((c - 0x10000) >> 10));
      put(0xDC00 + ((c - 0x10000) & 0x3FF));
    }
  }
  return out;
}

std::string decode_utf16(std::string_view utf16, ByteOrder order) {
  const auto unit = [&](size_t i) -> char32_t {
    const auto a = static_cast<uint8_t>(utf16[2 * i]), b = static_cast<uint8_t>(utf16[2 * i + 1]);
    return order == ByteOrder::big ? a << 8 | b : b << 8 | a;
  };
  std::string out;
  const size_t units = utf16.size() / 2;
  for (size_t i = 0; i < units; ++i) {
    char32_t c = unit(i);
    if (is_surrogate(c)) {
      const char32_t low = c < 0xDC00 && i + 1 < units ? unit(i + 1) : 0;
      if (low >= 0xDC00 && low <= 0xDFFF) {
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
        ++i;
      } else {
        c = replacement;
      }
    }
    out += encode_utf8({&c, 1});
  }
  return out;
}

std::optional<std::string> to_latin1(std::string_view utf8) {
  std::string out;
  for (const char32_t c : decode_utf8(utf8)) {
    const bool allowed =
        c == '\n' || c == '\t' || (c >= 0x20 && c < 0x7F) || (c >= 0xA0 && c <= 0xFF);
    if (!allowed) return std::nullopt;
    out += static_cast<char>(c);
  }
  return out;
}

std::string from_latin1(std::string_view latin1) {
  std::u32string characters;
  for (const char c : latin1) characters += static_cast<uint8_t>(c);
  return encode_utf8(characters);
}

}  // namespace backlot
