// The tokenizers of language models that encode bytes in pairs: Qwen2 and GPT-2 with its kin
// (SmolLM2). Ids are those of transformers 5; where a GPT2Tokenizer folder has a tokenizer.json,
// its pre_tokenizer counts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace backlot {

// Immutable, cheap to copy, safe to use from several threads.
class ByteLevelTokenizer {
 public:
  // Reads vocab.json and merges.txt, or tokenizer.json; besides, where present,
  // tokenizer_config.json, special_tokens_map.json and added_tokens.json. The class named in
  // tokenizer_config.json (none: GPT2Tokenizer) decides how text is split. Throws LoadError naming
  // the file, and the line of merges.txt.
  static ByteLevelTokenizer load(const std::filesystem::path& folder);

  // The ids of `text`, nothing added before or after it. Registered tokens inside the text, such as
  // <|im_end|>, give their ids. Invalid UTF-8 counts as U+FFFD. Never throws for any bytes.
  std::vector<int64_t> encode(std::string_view text) const;

  // The text of `ids`, special tokens included; incomplete characters become U+FFFD.
  std::string decode(std::span<const int64_t> ids) const;

  // The id of a token by its exact spelling, such as "<|im_end|>".
  std::optional<int64_t> id_of(const std::string& token) const;

  int64_t vocabulary_size() const;

 private:
  struct State;
  explicit ByteLevelTokenizer(std::shared_ptr<const State> state);
  std::shared_ptr<const State> state_;
};

}  // namespace backlot
