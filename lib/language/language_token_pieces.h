// A LanguageTokenizer as the generator sees it. Whoever includes this links backlot_text.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <utility>

#include "language/token_pieces.h"
#include "text/language_tokenizer.h"

namespace backlot {

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
