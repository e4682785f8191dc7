// How a byte-level tokenizer cuts text into the words that its byte-pair encoding merges: what
// pre_tokenizer of tokenizer.json, a class of transformers or a GGUF says.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "text/added_tokens.h"
#include "text/regex.h"

namespace backlot {

// Patterns are applied one after the other, each to what the one before gave: what matches is a
// part, and what lies between.
struct PreTokenizer {
  AddedTokenEncoder::Normalise normalise;
  std::vector<Regex> patterns;

  // Of the class named in tokenizer_config.json (none: GPT2Tokenizer). Qwen2Tokenizer has its own;
  // of GPT2Tokenizer, PreTrainedTokenizer, TokenizersBackend and LlamaTokenizer tokenizer.json's
  // normalizer and pre_tokenizer count. Throws LoadError, naming the file, for others and for steps
  // other than Sequence, Split (Isolated), Digits and ByteLevel.
  static PreTokenizer of_folder(const std::filesystem::path& folder);

  // Of tokenizer.ggml.pre, as llama.cpp names them: "default" (or ""), "gpt-2", "smollm", "qwen2",
  // "llama-bpe" and their other names. Throws LoadError naming `file` for others.
  static PreTokenizer of_gguf(const std::string& pre, const std::string& file);
};

// A pattern for Oniguruma, which Hugging Face's tokenizers uses, as one for PCRE2: \s, \d and \w
// mean Unicode's properties there. Throws std::invalid_argument for what the two take differently.
std::string from_oniguruma(const std::string& pattern);

// The pattern of PCRE2 that `text` alone matches.
std::string as_literal_pattern(const std::string& text);

}  // namespace backlot
