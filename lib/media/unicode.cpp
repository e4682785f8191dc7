#include "media/unicode.h"

#include <cstdint>

namespace backlot {
namespace {

constexpr char32_t replacement = 0xFFFD;

bool is_surrogate(char32_t c) { return c >= 0xD800 && c <= 0xDFFF; }

// The character that starts at `at`, which moves past it, or past one byte where it is malformed.
char32_t next_utf8(std::string_view utf8, size_t& at) {
  const auto lead = static_cast<uint8_t>(utf8[at++]);
  if (lead < 0x80) return lead;
  const int tail = lead >= 0xC2 && lead < 0xE0   ? 1
                   : lead >= 0xE0 && lead < 0xF0 ? 2
                   : lead >= 0xF0 && lead < 0xF5 ? 3
                                                 : 0;
  if (tail == 0 || utf8.size() - at < static_cast<size_t>(tail)) return replacement;
  char32_t c = lead & (0x3F >> tail);
  for (int i = 0; i < tail; ++i) {
    const auto byte = static_cast<uint8_t>(utf8[at + i]);
    if ((byte & 0xC0) != 0x80) return replacement;
    c = c << 6 | (byte & 0x3F);
  }
  constexpr char32_t smallest[] = {0, 0x80, 0x800, 0x10000};
  if (c < smallest[tail] || c > 0x10FFFF || is_surrogate(c)) return replacement;
  at += tail;
  return c;
}

void append_utf8(std::string& out, char32_t c) {
  const auto put = [&](char32_t byte) { out += static_cast<char>(byte); };
  const auto tail = [&](int shift) { put(0x80 | (c >> shift & 0x3F)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6), tail(0);
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12), tail(6), tail(0);
  } else {
    put(0xF0 | c >> 18), tail(12), tail(6), tail(0);
  }
}

}  // namespace

std::u32string decode_utf8(std::string_view utf8) {
  std::u32string out;
  for (size_t at = 0; at < utf8.size();) out += next_utf8(utf8, at);
  return out;
}

std::string encode_utf8(std::u32string_view text) {
  std::string out;
  for (const char32_t c : text) append_utf8(out, c);
  return out;
}

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
    append_utf8(out, c);
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
  std::string out;
  for (const char c : latin1) append_utf8(out, static_cast<uint8_t>(c));
  return out;
}

}  // namespace backlot
