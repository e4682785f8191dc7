#include "text/byte_alphabet.h"

#include "text/unicode.h"

namespace backlot {
namespace {

constexpr size_t printable_bytes = 188;
constexpr char32_t first_stand_in = 0x100;  // unprintable bytes are U+0100, U+0101, … in order

bool is_printable(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

std::array<unsigned char, 256> make_order() {
  std::array<unsigned char, 256> order{};
  size_t printable = 0, other = printable_bytes;
  for (unsigned byte = 0; byte < 256; ++byte)
    order[is_printable(byte) ? printable++ : other++] = static_cast<unsigned char>(byte);
  return order;
}

char32_t character_at(size_t position, unsigned char byte) {
  if (position < printable_bytes) return byte;
  return first_stand_in + static_cast<char32_t>(position - printable_bytes);
}

std::array<std::string, 256> make_alphabet() {
  std::array<std::string, 256> alphabet;
  for (size_t i = 0; i < 256; ++i) {
    const unsigned char byte = byte_alphabet_order()[i];
    const char32_t c = character_at(i, byte);
    alphabet[byte] = encode_utf8({&c, 1});
  }
  return alphabet;
}

}  // namespace

const std::array<unsigned char, 256>& byte_alphabet_order() {
  static const auto order = make_order();
  return order;
}

const std::array<std::string, 256>& byte_alphabet() {
  static const auto alphabet = make_alphabet();
  return alphabet;
}

std::optional<std::string> bytes_of_token(std::string_view token) {
  std::string bytes;
  for (const char32_t c : decode_utf8(token)) {
    if (c < first_stand_in && is_printable(c))
      bytes += static_cast<char>(c);
    else if (c >= first_stand_in && c < first_stand_in + 256 - printable_bytes)
      bytes += static_cast<char>(byte_alphabet_order()[printable_bytes + (c - first_stand_in)]);
    else
      return std::nullopt;
  }
  return bytes;
}

}  // namespace backlot
