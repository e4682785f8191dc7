// Byte-pair encoding of one word at a time, as Hugging Face's tokenizers does it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/tokenizer_files.h"

namespace backlot {

// Immutable after construction. Encoding takes O(n log n) time and about 30 bytes a byte of a word.
class BytePairEncoding {
 public:
  // `end_of_word` is appended to a word's last character ("</w>" for CLIP, else ""); `unknown` is
  // the id for bytes that the vocabulary lacks, which are dropped if there is none. Throws
  // LoadError, with the line, if a merge names or makes a token outside the vocabulary.
  BytePairEncoding(const BpeFiles& files, std::string_view end_of_word,
                   std::optional<int64_t> unknown);

  // Appends the ids of `word` (plain bytes, not in the byte alphabet).
  void encode(std::string_view word, std::vector<int64_t>& ids) const;

 private:
  struct Product {
    uint32_t rank;  // merges of lower rank come first
    int32_t id;
  };
  struct Symbol {
    int32_t id;
    int32_t previous, next;  // positions, -1 at either end
  };
  static constexpr int32_t absent = -1;

  const Product* product(int32_t left, int32_t right) const;
  std::vector<Symbol> symbols_of(std::string_view word) const;

  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };

  // With ignore_merges: the bytes of every token to its id.
  std::unordered_map<std::string, int32_t, Hash, std::equal_to<>> whole_words_;
  std::array<int32_t, 256> inner_{}, last_{};  // the id of a byte inside and at the end of a word
  std::unordered_map<uint64_t, Product> merges_;  // by the pair of ids
};

// The text that ids stand for: the bytes of their tokens in a row, as well-formed UTF-8.
class TokenSpellings {
 public:
  explicit TokenSpellings(const Vocabulary& vocabulary);

  // Ids outside the vocabulary give nothing.
  std::string text_of(std::span<const int64_t> ids) const;
  std::string_view bytes_of(int64_t id) const;  // which may be part of a character
  int64_t size() const { return static_cast<int64_t>(bytes_.size()); }

 private:
  std::vector<std::string> bytes_;  // by id
};

}  // namespace backlot
