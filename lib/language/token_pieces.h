// What the generator needs of a tokenizer.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <utility>

#include "text/language_tokenizer.h"

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

class LanguageTokenPieces final : public TokenPieces {
 public:
  explicit LanguageTokenPieces(LanguageTokenizer tokenizer) : tokenizer_(std::move(tokenizer)) {}

  std::string_view bytes(int32_t token) const override { return tokenizer_.piece(token); }
  bool is_special(int32_t token) const override { return tokenizer_.is_special(token); }
  bool ends_text(int32_t token) const override {
    const auto& ends = tokenizer_.end_of_turn();
    return std::binary_search(ends.begin(), ends.end(), token);
  }

 private:
  LanguageTokenizer tokenizer_;
};

}  // namespace backlot
