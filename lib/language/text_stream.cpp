#include "language/text_stream.h"

#include <algorithm>

#include "base/utf8.h"

namespace backlot {
namespace {

// Bytes at the end of `text` that begin a character and don't complete it.
size_t unfinished_character(std::string_view text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xC0) == 0x80) continue;
    const size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}

std::string well_formed(std::string_view bytes) { return encode_utf8(decode_utf8(bytes)); }

}  // namespace

TextStream::TextStream(std::vector<std::string> stop_strings)
    : stop_strings_(std::move(stop_strings)) {}

bool TextStream::add(std::string_view bytes) {
  for (const char byte : bytes) {
    bytes_ += byte;
    size_t longest = 0;
    for (const auto& stop : stop_strings_)
      if (bytes_.ends_with(stop)) longest = std::max(longest, stop.size());
    if (longest > 0) {
      bytes_.resize(bytes_.size() - longest);
      ended_ = true;
      return true;
    }
  }
  return false;
}

size_t TextStream::safe_length() const {
  if (ended_) return bytes_.size();
  const std::string_view all = bytes_;
  size_t held = 0;
  for (const std::string_view stop : stop_strings_)
    for (size_t length = std::min(stop.size() - 1, all.size()); length > held; --length)
      if (all.ends_with(stop.substr(0, length))) held = length;
  const size_t safe = all.size() - held;
  return safe - unfinished_character(all.substr(0, safe));
}

std::string TextStream::take() {
  const size_t safe = safe_length();
  if (safe <= shown_) return "";
  const std::string_view piece = std::string_view(bytes_).substr(shown_, safe - shown_);
  shown_ = safe;
  return well_formed(piece);
}

std::string TextStream::text() const { return well_formed(bytes_); }

}  // namespace backlot
