// The tokenizers of language models that encode bytes in pairs: Qwen2, GPT-2 with its kin
// (SmolLM2) and Llama 3. Ids are those of transformers 5. How text is split: PreTokenizer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer_files.h"

namespace backlot {

// Whether special tokens written out in a text, such as <|im_end|>, become their ids. In rendered
// chats they must; in text that somebody else wrote they end its role if they do.
enum class SpecialTokensInText { parsed, plain };

// Immutable, cheap to copy, safe to use from several threads.
class ByteLevelTokenizer {
 public:
  // Reads vocab.json and merges.txt, or tokenizer.json; besides, where present,
  // tokenizer_config.json, special_tokens_map.json and added_tokens.json. The class named in
  // tokenizer_config.json (none: GPT2Tokenizer) decides how text is split. Throws LoadError naming
  // the file, and the line of merges.txt.
  static ByteLevelTokenizer load(const std::filesystem::path& folder);

  // From its parts. The ids of `special` and `encoding` are those of `vocabulary`.
  ByteLevelTokenizer(BytePairEncoding encoding, const Vocabulary& vocabulary, SpecialTokens special,
                     PreTokenizer pre_tokenizer);

  // The ids of `text`, nothing added before or after it. Registered tokens inside the text, such as
  // <|im_end|>, give their ids; if `special` is plain, only those that are not special do. Invalid
  // UTF-8 counts as U+FFFD. Takes any bytes; throws LoadError only if a pattern from tokenizer.json
  // takes more steps than a bound.
  std::vector<int64_t> encode(std::string_view text,
                              SpecialTokensInText special = SpecialTokensInText::parsed) const;

  // The text of `ids`, special tokens included; incomplete characters become U+FFFD.
  std::string decode(std::span<const int64_t> ids) const;

  // The id of a token by its exact spelling, such as "<|im_end|>".
  std::optional<int64_t> id_of(const std::string& token) const;

  // The bytes of one token, which may be part of a character; "" outside the vocabulary.
  std::string_view bytes_of(int64_t id) const;
  bool is_special(int64_t id) const;
  const SpecialTokens& special_tokens() const;

  int64_t vocabulary_size() const;

 private:
  struct State;
  std::shared_ptr<const State> state_;
};

}  // namespace backlot
