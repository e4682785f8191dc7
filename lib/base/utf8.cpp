#include "base/utf8.h"

namespace backlot {
namespace {

constexpr char32_t replacement = 0xFFFD;

// The length and least and greatest second byte of sequences that start with `lead`.
struct Sequence {
  size_t length;
  unsigned char low = 0x80, high = 0xBF;
};

Sequence sequence_of(unsigned char lead) {
  if (lead < 0x80) return {1};
  if (lead >= 0xC2 && lead <= 0xDF) return {2};
  if (lead == 0xE0) return {3, 0xA0, 0xBF};
  if (lead == 0xED) return {3, 0x80, 0x9F};
  if (lead >= 0xE1 && lead <= 0xEF) return {3};
  if (lead == 0xF0) return {4, 0x90, 0xBF};
  if (lead == 0xF4) return {4, 0x80, 0x8F};
  if (lead >= 0xF1 && lead <= 0xF3) return {4};
  return {0};
}

}  // namespace

std::u32string decode_utf8(std::string_view bytes) {
  std::u32string out;
  out.reserve(bytes.size());
  for (size_t at = 0; at < bytes.size();) {
    const auto lead = static_cast<unsigned char>(bytes[at++]);
    const Sequence sequence = sequence_of(lead);
    if (sequence.length <= 1) {
      out += sequence.length == 1 ? char32_t{lead} : replacement;
      continue;
    }
    char32_t c = lead & (0x7Fu >> sequence.length);
    size_t taken = 1;
    for (; taken < sequence.length && at < bytes.size(); ++taken, ++at) {
      const auto next = static_cast<unsigned char>(bytes[at]);
      const unsigned char low = taken == 1 ? sequence.low : 0x80;
      const unsigned char high = taken == 1 ? sequence.high : 0xBF;
      if (next < low || next > high) break;
      c = (c << 6) | (next & 0x3Fu);
    }
    out += taken == sequence.length ? c : replacement;
  }
  return out;
}

std::string encode_utf8(std::u32string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char32_t c : text) {
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
  return out;
}

}  // namespace backlot
