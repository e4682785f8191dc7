// Tokens registered beside the byte-pair encoding: found in the text first, never split. Follows
// AddedVocabulary of Hugging Face's tokenizers and how transformers 5 reads its files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/tokenizer_files.h"

namespace backlot {

struct AddedToken {
  std::string content;
  int64_t id = -1;
  bool left_strip = false, right_strip = false;  // also takes the white space on that side
  bool single_word = false;                      // matches only between word boundaries
  bool normalized = false;                       // looked for in the normalised text
  bool special = true;                           // steers the model; not part of what it says
};

// What a tokenizer folder says beyond its byte-pair encoding.
struct SpecialTokens {
  std::vector<AddedToken> tokens;           // all that are registered, each content once
  std::map<std::string, AddedToken> named;  // by role: "bos_token", "eos_token", "pad_token", …
  std::optional<int64_t> max_length;        // model_max_length, where it is a real limit
};

// Reads tokenizer_config.json and, unless that has an added_tokens_decoder,
// special_tokens_map.json, added_tokens.json and tokenizer.json's added_tokens. `defaults` gives
// the roles that no file names. Tokens that `vocabulary` lacks are added to it. Throws LoadError
// for damaged files, ids that contradict the vocabulary or leave a hole, and roles given to tokens
// that no file lists.
SpecialTokens read_special_tokens(const std::filesystem::path& folder,
                                  const std::map<std::string, std::string>& defaults,
                                  Vocabulary& vocabulary);

// A part of a text: a registered token (id ≥ 0) or what lies between (id -1).
struct TextPart {
  std::string_view text;
  int64_t id = -1;
};

// Finds registered tokens, leftmost first and the longest where several start. Immutable.
class TokenMatcher {
 public:
  void add(std::string_view spelling, const AddedToken& token);
  std::vector<TextPart> split(std::string_view text) const;

 private:
  struct Match {
    size_t begin, end;
    const AddedToken* token;
  };
  std::optional<Match> next_match(std::string_view text, size_t from) const;

  // A trie of bytes: (node, byte) to node; node 0 is the root.
  std::unordered_map<uint64_t, uint32_t> edges_;
  std::unordered_map<uint32_t, AddedToken> tokens_;
  uint32_t nodes_ = 1;
};

// Encodes text around its registered tokens, which are looked for first in the text as it is, then
// in what lies between, normalised. Immutable.
class AddedTokenEncoder {
 public:
  using Normalise = std::function<std::string(std::string_view)>;
  using Encode = std::function<void(std::string_view, std::vector<int64_t>&)>;

  AddedTokenEncoder(const std::vector<AddedToken>& tokens, Normalise normalise);

  // The ids of `text`, `encode` appending those of the normalised parts without registered tokens.
  // Invalid UTF-8 counts as U+FFFD.
  std::vector<int64_t> operator()(std::string_view text, const Encode& encode) const;

 private:
  Normalise normalise_;
  TokenMatcher raw_, normalised_;
};

}  // namespace backlot
