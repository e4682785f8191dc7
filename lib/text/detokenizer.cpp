#include "text/detokenizer.h"

#include <algorithm>

#include "base/utf8.h"

namespace backlot {
namespace {

// How many bytes a character has that begins with this one; 0 for none that can begin one.
size_t length_of(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 0;
}

// Whether the second byte can follow the first in a character (Unicode, table 3-7).
bool can_follow(unsigned char lead, unsigned char second) {
  const unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  return second >= low && second <= high;
}

// The bytes at the end that are the beginning of a character, and no more than that.
size_t unfinished(std::string_view bytes) {
  for (size_t tail = 1; tail <= std::min<size_t>(3, bytes.size()); ++tail) {
    const auto lead = static_cast<unsigned char>(bytes[bytes.size() - tail]);
    if ((lead & 0xC0) == 0x80) continue;
    if (length_of(lead) <= tail) return 0;
    const bool begins =
        tail == 1 || can_follow(lead, static_cast<unsigned char>(bytes[bytes.size() - tail + 1]));
    return begins ? tail : 0;
  }
  return 0;
}

}  // namespace

Detokenizer::Detokenizer(LanguageTokenizer tokenizer, SpecialTokensShown special)
    : tokenizer_(std::move(tokenizer)), special_(special) {}

std::string_view Detokenizer::add(int32_t id) {
  text_.clear();
  if (special_ == SpecialTokensShown::no && tokenizer_.is_special(id)) return text_;
  held_ += tokenizer_.piece(id);
  const size_t whole = held_.size() - unfinished(held_);
  text_ = encode_utf8(decode_utf8(std::string_view(held_).substr(0, whole)));
  held_.erase(0, whole);
  return text_;
}

std::string_view Detokenizer::finish() {
  text_ = encode_utf8(decode_utf8(held_));
  held_.clear();
  return text_;
}

}  // namespace backlot
