#include <fmt/format.h>

#include <limits>

#include "base/error.h"
#include "text/language_tokenizer_files.h"

namespace backlot {
namespace {

constexpr char mend[] = "fetch the file again";

[[noreturn]] void damaged(const TokenizerData& data, std::string what) {
  throw LoadError(data.file, std::move(what), mend);
}

Vocabulary vocabulary_of(const TokenizerData& data) {
  if (data.tokens.empty()) damaged(data, "tokenizer.ggml.tokens is missing or empty");
  if (data.tokens.size() > std::numeric_limits<int32_t>::max())
    damaged(data, "tokenizer.ggml.tokens has too many entries");
  if (!data.token_types.empty() && data.token_types.size() != data.tokens.size())
    damaged(data, fmt::format("tokenizer.ggml.token_type has {} entries for {} tokens",
                              data.token_types.size(), data.tokens.size()));
  Vocabulary vocabulary;
  vocabulary.reserve(data.tokens.size());
  for (size_t id = 0; id < data.tokens.size(); ++id) {
    const auto [at, added] = vocabulary.emplace(data.tokens[id], static_cast<int64_t>(id));
    if (!added)
      damaged(data, fmt::format("tokenizer.ggml.tokens has '{}' twice, as {} and {}",
                                data.tokens[id].substr(0, 60), at->second, id));
  }
  return vocabulary;
}

BpeFiles encoding_of(const TokenizerData& data, Vocabulary vocabulary) {
  BpeFiles files;
  files.vocabulary = std::move(vocabulary);
  files.merges_file = data.file;
  // Llama 3's tokenizer.json says so; a GGUF only names the tokenizer.
  files.ignore_merges = data.pre == "llama-bpe" || data.pre == "llama3" || data.pre == "llama-v3";
  files.merges.reserve(data.merges.size());
  for (const auto& text : data.merges) {
    auto merge = parse_merge(text);
    if (!merge)
      damaged(data, fmt::format("tokenizer.ggml.merges[{}], '{}', is not a pair of tokens",
                                files.merges.size(), text.substr(0, 60)));
    files.merges.push_back(std::move(*merge));
  }
  return files;
}

void check_id(const TokenizerData& data, const char* key, std::optional<int64_t> id) {
  if (id && (*id < 0 || *id >= static_cast<int64_t>(data.tokens.size())))
    damaged(data, fmt::format("tokenizer.ggml.{} is {}, outside 0 to {}", key, *id,
                              data.tokens.size() - 1));
}

SpecialTokens special_tokens_of(const TokenizerData& data) {
  SpecialTokens special;
  for (size_t id = 0; id < data.token_types.size(); ++id) {
    const auto type = static_cast<GgufTokenType>(data.token_types[id]);
    const bool steers = type == GgufTokenType::control || type == GgufTokenType::unknown;
    if (!steers && type != GgufTokenType::user_defined) continue;
    AddedToken token;
    token.content = data.tokens[id];
    token.id = static_cast<int64_t>(id);
    token.special = steers;
    special.tokens.push_back(std::move(token));
  }
  const auto name = [&](const char* role, const char* key, std::optional<int64_t> id) {
    check_id(data, key, id);
    if (!id) return;
    AddedToken token;
    token.content = data.tokens[static_cast<size_t>(*id)];
    token.id = *id;
    special.named[role] = std::move(token);
  };
  name("bos_token", "bos_token_id", data.bos);
  name("eos_token", "eos_token_id", data.eos);
  name("unk_token", "unknown_token_id", data.unknown);
  name("pad_token", "padding_token_id", data.padding);
  check_id(data, "eot_token_id", data.eot);
  check_id(data, "eom_token_id", data.eom);
  return special;
}

}  // namespace

ByteLevelTokenizer byte_level_tokenizer_of(const TokenizerData& data) {
  if (data.model != "gpt2")
    throw LoadError(
        data.file,
        fmt::format("its tokenizer is of the kind '{}', not a byte-level BPE ('gpt2')", data.model),
        "use a model with the tokenizer of Qwen2, Llama 3, SmolLM2 or GPT-2");
  auto pre_tokenizer = PreTokenizer::of_gguf(data.pre, data.file);
  BpeFiles files = encoding_of(data, vocabulary_of(data));
  auto special = special_tokens_of(data);
  BytePairEncoding encoding(files, "", std::nullopt);
  return ByteLevelTokenizer(std::move(encoding), files.vocabulary, std::move(special),
                            std::move(pre_tokenizer));
}

TokenizerSettings settings_of_gguf(const TokenizerData& data) {
  TokenizerSettings settings;
  if (data.add_bos && data.bos) settings.before.push_back(*data.bos);
  if (data.add_eos && data.eos) settings.after.push_back(*data.eos);
  for (const auto id : {data.eos, data.eot, data.eom})
    if (id) settings.ends.push_back(*id);
  settings.chat_template = data.chat_template;
  return settings;
}

}  // namespace backlot
