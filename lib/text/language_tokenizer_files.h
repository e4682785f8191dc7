// What a transformers folder or a GGUF says of a language model's tokenizer beside its encoding.
// Everything is checked against the vocabulary; what does not fit is a LoadError.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "text/language_tokenizer.h"

namespace backlot {

struct TokenizerSettings {
  std::vector<int64_t> before, after;  // tokens put around a text that is no chat
  std::vector<int64_t> ends;           // after which an answer is over
  std::string chat_template;           // "" if there is none
};

// Reads post_processor of tokenizer.json, add_bos_token, add_eos_token and chat_template of
// tokenizer_config.json, chat_template.jinja, chat_template.json, and eos_token_id of
// generation_config.json or, without it, config.json.
TokenizerSettings settings_of_folder(const std::filesystem::path& folder,
                                     const ByteLevelTokenizer& tokenizer);

ByteLevelTokenizer byte_level_tokenizer_of(const TokenizerData& data);
TokenizerSettings settings_of_gguf(const TokenizerData& data);

}  // namespace backlot
