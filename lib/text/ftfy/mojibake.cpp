#include "text/ftfy/mojibake.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/text.h"
#include "text/regex.h"
#include "text/unicode.h"

namespace backlot {
namespace {

#include "text/ftfy/patterns.inc"

// Bytes are kept as texts of characters below 256, on which the patterns for bytes work.
using Bytes = std::u32string;

// A single-byte encoding; bytes below 0x80 are ASCII.
struct Encoding {
  std::string_view name;
  bool lossy;  // 0x1A stands for U+FFFD: of that character it is unknown which byte it was
  char32_t upper[128];
};

constexpr Encoding encodings[] = {
#include "text/ftfy/encodings.inc"
};
constexpr char32_t lost_character = 0xFFFD, lost_byte = 0x1A;

const Encoding& encoding_named(std::string_view name) {
  return *std::find_if(std::begin(encodings), std::end(encodings),
                       [&](const Encoding& encoding) { return encoding.name == name; });
}

// The bytes that each character has in `encoding`.
std::unordered_map<char32_t, char32_t> bytes_of(const Encoding& encoding) {
  std::unordered_map<char32_t, char32_t> bytes;
  for (char32_t c = 0; c < 0x80; ++c) bytes[c] = c;
  for (char32_t i = 0; i < 0x80; ++i) bytes[encoding.upper[i]] = 0x80 + i;
  if (encoding.lossy) {
    bytes.erase(lost_byte);
    bytes[lost_character] = lost_byte;
  }
  return bytes;
}

std::optional<Bytes> encode(const std::u32string& text, size_t encoding) {
  static const auto maps = [] {
    std::vector<std::unordered_map<char32_t, char32_t>> result;
    for (const Encoding& e : encodings) result.push_back(bytes_of(e));
    return result;
  }();
  Bytes bytes;
  bytes.reserve(text.size());
  for (const char32_t c : text) {
    const auto found = maps[encoding].find(c);
    if (found == maps[encoding].end()) return std::nullopt;
    bytes += found->second;
  }
  return bytes;
}

using Replace = std::function<std::u32string(const std::u32string&)>;

std::u32string replace_matches(const Regex& pattern, const std::u32string& text,
                               const Replace& replace) {
  const std::string utf8 = encode_utf8(text);
  std::string out;
  const char* done = utf8.data();
  for (const auto match : pattern.find_all(utf8)) {
    out.append(done, match.data());
    out += encode_utf8(replace(decode_utf8(match)));
    done = match.data() + match.size();
  }
  out.append(done, utf8.data() + utf8.size());
  return decode_utf8(out);
}

bool is_ascii(const std::u32string& text) {
  return std::all_of(text.begin(), text.end(), [](char32_t c) { return c < 0x80; });
}

bool is_bad(const std::u32string& text) {
  static const Regex pattern(badness);
  return pattern.found_in(encode_utf8(text));
}

bool is_c1(char32_t c) { return c >= 0x80 && c <= 0x9F; }

// Puts bytes 0xA0 back where a program took them for spaces.
Bytes restore_a0(const Bytes& bytes) {
  static const Regex altered(altered_utf8), a_grave(a_grave_word);
  if (!altered.found_in(encode_utf8(bytes))) return bytes;
  const Bytes words =
      replace_matches(a_grave, bytes, [](const Bytes&) { return Bytes(U"\xc3\xa0 "); });
  return replace_matches(altered, words, [](Bytes match) {
    std::replace(match.begin(), match.end(), U' ', U'\xa0');
    return match;
  });
}

// Sequences of UTF-8 with a lost byte become that of U+FFFD.
Bytes replace_lossy_sequences(const Bytes& bytes) {
  static const Regex lossy(lossy_utf8);
  return replace_matches(lossy, bytes, [](const Bytes&) { return Bytes(U"\xef\xbf\xbd"); });
}

// What a pair of surrogates, each written as UTF-8 would write it, stands for (CESU-8).
std::optional<char32_t> surrogate_pair(std::string_view bytes) {
  constexpr size_t size = 6;
  if (bytes.size() < size) return std::nullopt;
  uint32_t b[size];
  for (size_t i = 0; i < size; ++i) b[i] = static_cast<unsigned char>(bytes[i]);
  const bool is_pair = b[0] == 0xED && b[1] >> 4 == 0xA && b[2] >> 6 == 2 && b[3] == 0xED &&
                       b[4] >> 4 == 0xB && b[5] >> 6 == 2;
  if (!is_pair) return std::nullopt;
  return 0x10000 + ((b[1] & 0x0F) << 16) + ((b[2] & 0x3F) << 10) + ((b[4] & 0x0F) << 6) +
         (b[5] & 0x3F);
}

// UTF-8, and Java's and CESU-8's ways to write zero and characters above U+FFFF.
std::optional<std::u32string> decode_utf8_variants(const Bytes& bytes) {
  std::string plain;
  for (const char32_t byte : bytes) plain += static_cast<char>(byte);
  std::string standard;
  for (std::string_view rest = plain; !rest.empty();) {
    if (rest.starts_with("\xc0\x80")) {
      standard += '\0';
      rest.remove_prefix(2);
    } else if (const auto pair = surrogate_pair(rest)) {
      standard += encode_utf8({&*pair, 1});
      rest.remove_prefix(6);
    } else {
      standard += rest[0];
      rest.remove_prefix(1);
    }
  }
  if (!is_utf8(standard)) return std::nullopt;
  return decode_utf8(standard);
}

// Mojibake in the midst of other text.
std::u32string fix_embedded(const std::u32string& text) {
  static const Regex detector(utf8_detector);
  return replace_matches(detector, text, [&](const std::u32string& match) {
    // Shorter, so that this comes to an end.
    return match.size() < text.size() && is_bad(match) ? fix_encoding(match) : match;
  });
}

std::u32string fix_one_step(const std::u32string& text) {
  if (is_ascii(text) || !is_bad(text)) return text;
  for (size_t i = 0; i < std::size(encodings); ++i) {
    auto bytes = encode(text, i);
    if (!bytes) continue;
    // In Mac OS's encoding an en dash and a space would be taken for such bytes.
    if (encodings[i].name != "macroman") bytes = restore_a0(*bytes);
    if (encodings[i].lossy) bytes = replace_lossy_sequences(*bytes);
    if (auto fixed = decode_utf8_variants(*bytes)) return *fixed;
  }
  if (auto fixed = fix_embedded(text); fixed != text) return fixed;
  // Nobody wants C1 controls: they were meant for Windows-1252.
  return fix_c1_controls(text);
}

}  // namespace

std::u32string fix_c1_controls(std::u32string text) {
  static const Encoding& windows_1252 = encoding_named("sloppy-windows-1252");
  for (char32_t& c : text)
    if (is_c1(c)) c = windows_1252.upper[c - 0x80];
  return text;
}

std::u32string fix_encoding(std::u32string text) {
  while (true) {
    std::u32string fixed = fix_one_step(text);
    if (fixed == text) return text;
    text = std::move(fixed);
  }
}

}  // namespace backlot
