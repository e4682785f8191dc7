// Tokens' bytes to text that can be shown as it grows.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace backlot {

// Ill-formed UTF-8 becomes U+FFFD as decode_utf8() has it. What was shown is never taken back: the
// bytes of a character wait for its last one, and whatever may be the beginning of a stop string
// waits until it is known to be none.
class TextStream {
 public:
  // None of the stop strings is empty.
  explicit TextStream(std::vector<std::string> stop_strings);

  // True once a stop string is complete, wherever the borders of tokens are: the one that ends
  // first, of those the longest. The text ends before it; nothing may be added after.
  bool add(std::string_view bytes);

  // No more bytes will come: nothing has to wait.
  void end() { ended_ = true; }

  // What may be shown since the last call.
  std::string take();

  // The whole text up to now, also what waits.
  std::string text() const;

 private:
  size_t safe_length() const;  // of bytes_, what surely belongs to the text, in whole characters

  std::vector<std::string> stop_strings_;
  std::string bytes_;
  size_t shown_ = 0;  // of bytes_
  bool ended_ = false;
};

}  // namespace backlot
