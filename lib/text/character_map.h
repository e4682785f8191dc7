// SentencePiece's precompiled character map, the normaliser of T5 and UMT5: what a file maps each
// character, or short cluster of characters, to. Follows spm_precompiled of Hugging Face.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace backlot {

// Immutable.
class CharacterMap {
 public:
  // `bytes` as they stand in spiece.model: the size of a double-array trie in bytes (32 bits,
  // little-endian), the trie, and the replacements, each ended by a zero byte. They are not
  // trusted: throws std::invalid_argument saying what is wrong.
  explicit CharacterMap(std::string_view bytes);

  // `text` is well-formed UTF-8, and so is what comes back. A grapheme cluster of at most five
  // bytes is looked up first, and replaced as a whole if it or its beginning is found: such is the
  // reference. The rest goes character by character; what the map does not have stays.
  std::string operator()(std::string_view text) const;

 private:
  std::optional<std::string_view> replacement(std::string_view key) const;

  std::vector<uint32_t> trie_;
  std::string replacements_;
};

}  // namespace backlot
