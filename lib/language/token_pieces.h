// What the generator needs of a tokenizer.
#pragma once

#include <cstdint>
#include <string_view>

namespace backlot {

class TokenPieces {
 public:
  virtual ~TokenPieces() = default;

  // The bytes that a token adds to a text, maybe a part of a character. None for ids that the
  // vocabulary does not have.
  virtual std::string_view bytes(int32_t token) const = 0;
  // Never shown: <|im_start|>, <|endoftext|>, …
  virtual bool is_special(int32_t token) const = 0;
  // Whether the model says with it that its answer is complete.
  virtual bool ends_text(int32_t token) const = 0;
};

}  // namespace backlot
