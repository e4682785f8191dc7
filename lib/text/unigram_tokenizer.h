// SentencePiece's Unigram encoding as Hugging Face's tokenizers does it, for T5 and UMT5 (Wan's
// text encoder). Ids are those of transformers 5.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace backlot {

// The ids of one prompt as a text encoder takes them.
struct PaddedIds {
  std::vector<int64_t> ids;  // as many as were asked for: text, </s>, then <pad>
  int64_t length = 0;        // of text and </s>: the attention mask is 1 below it and 0 from it on
};

// Immutable, cheap to copy, safe to use from several threads.
class UnigramTokenizer {
 public:
  // Reads a tokenizer folder: tokenizer.json if there is one, else spiece.model; besides, where
  // present, tokenizer_config.json, special_tokens_map.json and added_tokens.json. A T5Tokenizer
  // normalises by the file's character map and splits at white space, whatever else the files say,
  // as transformers does: unknown text has the id 2 and never becomes bytes. For other classes
  // tokenizer.json's own steps count. Nothing in the files is trusted. Throws LoadError naming the
  // file.
  static UnigramTokenizer load(const std::filesystem::path& folder);

  // The ids of `text`, without </s>. Registered tokens inside the text, such as </s>, give their
  // ids. Invalid UTF-8 counts as U+FFFD. Never throws for any bytes.
  std::vector<int64_t> encode(std::string_view text) const;

  // Exactly `length` ids: text cut to length - 1 ids, </s>, <pad> up to the end. `length` >= 1.
  PaddedIds encode_padded(std::string_view text, int64_t length) const;

  int64_t eos() const;
  int64_t pad() const;
  int64_t vocabulary_size() const;  // ids are below it

 private:
  struct State;
  explicit UnigramTokenizer(std::shared_ptr<const State> state);
  std::shared_ptr<const State> state_;
};

}  // namespace backlot
