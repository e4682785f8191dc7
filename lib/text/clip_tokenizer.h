// CLIP's tokenizer: lower-cased byte-level byte-pair encoding with </w> at the end of words.
//
// Reference: CLIPTokenizer of transformers 5 (the fast tokenizer), whose ids it gives exactly: NFC,
// runs of white space to one space, lower case; no ftfy. Known to differ: letters newer than
// Unicode 14 (our libraries' version), and stacked combining marks newer than Unicode 9 (the
// reference's).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace backlot {

// Immutable, cheap to copy, safe to use from several threads.
class ClipTokenizer {
 public:
  // Reads a tokenizer folder: vocab.json and merges.txt, or tokenizer.json; besides, where present,
  // tokenizer_config.json, special_tokens_map.json and added_tokens.json. Without vocab.json the
  // vocabulary is the usual one: the 256 bytes, the same with </w>, one token for each merge,
  // <|startoftext|>, <|endoftext|>. Throws LoadError naming the file, and the line of merges.txt.
  static ClipTokenizer load(const std::filesystem::path& folder);

  // The ids of `text` without bos and eos. Registered tokens inside the text, such as
  // <|endoftext|>, give their ids. Invalid UTF-8 counts as U+FFFD. Never throws for any bytes.
  std::vector<int64_t> encode(std::string_view text) const;

  // The text of `ids`, special tokens included, one space after each word; ids outside the
  // vocabulary give nothing.
  std::string decode(std::span<const int64_t> ids) const;

  int64_t bos() const;
  int64_t eos() const;
  int64_t pad() const;
  int64_t max_length() const;  // tokens of one sequence, bos and eos included: 77
  int64_t vocabulary_size() const;

 private:
  struct State;
  explicit ClipTokenizer(std::shared_ptr<const State> state);
  std::shared_ptr<const State> state_;
};

}  // namespace backlot
