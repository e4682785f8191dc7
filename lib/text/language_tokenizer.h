// A language model's tokenizer as the generator and the commands see it: text to ids and back, the
// ids that end an answer, and the chat template. From a transformers folder or from what a GGUF
// says in its metadata. Ids are those of transformers 5.
//
// Byte-level byte-pair encodings only, with the splitting of GPT-2, SmolLM2, Qwen2, Llama 3 or any
// that a tokenizer.json spells out as `Split`, `Digits` and `ByteLevel` steps. Others, such as
// SentencePiece's, are a LoadError that names them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/byte_level_tokenizer.h"

namespace backlot {

// What a GGUF's metadata says of its tokenizer (keys tokenizer.ggml.*, tokenizer.chat_template).
// Nothing in it is trusted.
struct TokenizerData {
  std::string file;                  // of which errors speak
  std::string model;                 // model: "gpt2"
  std::string pre;                   // pre: "qwen2", "llama-bpe", …; "" if it is absent
  std::vector<std::string> tokens;   // tokens, by id, in GPT-2's byte alphabet
  std::vector<int32_t> token_types;  // token_type, by id; empty: all are normal
  std::vector<std::string> merges;   // merges, each "left right"
  std::optional<int64_t> bos, eos, eot, eom, unknown, padding;  // bos_token_id, …
  bool add_bos = false, add_eos = false;                        // add_bos_token, add_eos_token
  std::string chat_template;                                    // "" if it is absent
};

// The values of `token_types`.
enum class GgufTokenType : int32_t {
  normal = 1,
  unknown = 2,
  control = 3,
  user_defined = 4,
  unused = 5,
  byte = 6
};

// Whether text of ids shows special tokens or leaves them out.
enum class SpecialTokensShown { yes, no };

// Immutable, cheap to copy, safe to use from several threads.
class LanguageTokenizer {
 public:
  // Reads a transformers folder: what ByteLevelTokenizer::load reads, chat_template.jinja or the
  // chat_template of tokenizer_config.json, and eos_token_id of generation_config.json or
  // config.json. Throws LoadError naming the file.
  static LanguageTokenizer load(const std::filesystem::path& folder);

  // Throws LoadError naming data.file and the metadata key.
  static LanguageTokenizer from_gguf(TokenizerData data);

  // The ids of `text`, nothing added before or after it. Invalid UTF-8 counts as U+FFFD. Never
  // throws for any bytes.
  std::vector<int32_t> encode(std::string_view text,
                              SpecialTokensInText special = SpecialTokensInText::parsed) const;

  // As encode(), with the tokens that the model's tokenizer puts around a text by itself (bos for
  // Llama 3, none for Qwen2). For completion; rendered chats bring theirs along.
  std::vector<int32_t> encode_completion(std::string_view text) const;

  // Well-formed UTF-8; incomplete characters become U+FFFD; ids outside the vocabulary, which
  // padded models can give, are nothing.
  std::string decode(std::span<const int32_t> ids,
                     SpecialTokensShown special = SpecialTokensShown::yes) const;

  // The bytes of one token, which may be part of a character. "" outside the vocabulary.
  std::string_view piece(int32_t id) const;
  bool is_special(int32_t id) const;

  // The id of a token by its exact spelling, such as "<|im_end|>".
  std::optional<int32_t> id_of(const std::string& token) const;

  std::optional<int32_t> bos() const;
  std::optional<int32_t> eos() const;
  std::optional<int32_t> padding() const;
  // Ids after which an answer is over, ascending: those of generation_config.json or the GGUF's,
  // the tokenizer's eos, and the marks known to end a turn or a text. Empty if there is none.
  const std::vector<int32_t>& end_of_turn() const;

  // Ids are below it. A model's logits may have more rows, never fewer.
  int64_t vocabulary_size() const;

  // The source of the chat template: the model's, else ChatML or Llama 3's where the vocabulary
  // has their marks, else "".
  const std::string& chat_template() const;

  // The conversation as the text that the model was trained on, for encode(). `messages` is
  // checked by check_messages(); `variables` are further names that the template sees, such as
  // {"enable_thinking": false} or {"date_string": "26 Jul 2024"}. Throws LoadError if there is no
  // template or it is wrong, UsageError for wrong messages, ItemError if the template refuses them.
  std::string render_chat(const Json& messages, bool add_generation_prompt = true,
                          const Json& variables = Json::object()) const;

 private:
  struct State;
  explicit LanguageTokenizer(std::shared_ptr<const State> state);
  std::shared_ptr<const State> state_;
};

}  // namespace backlot
