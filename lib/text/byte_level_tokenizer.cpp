#include "text/byte_level_tokenizer.h"

#include <fmt/format.h>

#include "base/error.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/regex.h"
#include "text/unicode.h"

namespace backlot {
namespace {

namespace fs = std::filesystem;

// How text becomes words: patterns applied one after the other, each to what the one before gave.
struct Splitting {
  AddedTokenEncoder::Normalise normalise;
  std::vector<Regex> patterns;
};

std::string as_it_is(std::string_view text) { return std::string(text); }

Regex gpt2_pattern() {
  return Regex(
      fmt::format(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{{L}}+| ?\p{{N}}+| ?[^{0}\p{{L}}\p{{N}}]+)"
                  R"(|[{0}]+(?![^{0}])|[{0}]+)",
                  white_space_class));
}

Splitting qwen2_splitting() {
  const auto normalise = [](std::string_view text) { return encode_utf8(nfc(decode_utf8(text))); };
  const std::string pattern =
      fmt::format(R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}})"
                  R"(| ?[^{0}\p{{L}}\p{{N}}]+[\r\n]*|[{0}]*[\r\n]+|[{0}]+(?![^{0}])|[{0}]+)",
                  white_space_class);
  return {normalise, {Regex(pattern)}};
}

// Whether a boolean setting is there and true.
bool is_on(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

// Adds the patterns of one pre_tokenizer of tokenizer.json.
void add_patterns(const nlohmann::json& step, const fs::path& file, std::vector<Regex>& patterns) {
  const auto refuse = [&](const std::string& what) {
    throw LoadError(file.string(), what,
                    "use a model whose tokenizer is of GPT-2's or Qwen2's kind");
  };
  const auto type = step.is_object() ? step.find("type") : step.end();
  if (!step.is_object() || type == step.end() || !type->is_string())
    throw_damaged(file, "its pre_tokenizer has no type");
  if (*type == "Sequence") {
    const auto steps = step.find("pretokenizers");
    if (steps == step.end() || !steps->is_array())
      throw_damaged(file, "its pre_tokenizer is an empty sequence");
    for (const auto& inner : *steps) {
      if (inner.is_object() && inner.value("type", nlohmann::json()) == "Sequence")
        refuse("its pre_tokenizer has a sequence inside a sequence");
      add_patterns(inner, file, patterns);
    }
  } else if (*type == "Digits" && is_on(step, "individual_digits")) {
    patterns.emplace_back(R"(\p{N})");
  } else if (*type == "ByteLevel" && !is_on(step, "add_prefix_space")) {
    const bool plain = step.contains("use_regex") && !is_on(step, "use_regex");
    if (!plain) patterns.push_back(gpt2_pattern());
  } else {
    refuse(fmt::format("its pre_tokenizer {} is not supported", step.dump().substr(0, 120)));
  }
}

Splitting gpt2_splitting(const fs::path& folder) {
  const fs::path file = folder / "tokenizer.json";
  const auto json = read_object(file);
  Splitting splitting{as_it_is, {}};
  if (json.empty()) {
    splitting.patterns.push_back(gpt2_pattern());
    return splitting;
  }
  const auto normalizer = json.find("normalizer");
  if (normalizer != json.end() && !normalizer->is_null())
    throw LoadError(file.string(), "it has a normalizer, which GPT-2's tokenizer has not",
                    "use a model whose tokenizer is of GPT-2's or Qwen2's kind");
  const auto step = json.find("pre_tokenizer");
  if (step == json.end()) throw_damaged(file, "has no pre_tokenizer");
  add_patterns(*step, file, splitting.patterns);
  return splitting;
}

Splitting splitting_of(const fs::path& folder) {
  const std::string name = tokenizer_class(folder);
  if (name == "Qwen2Tokenizer") return qwen2_splitting();
  if (name.empty() || name == "GPT2Tokenizer") return gpt2_splitting(folder);
  throw LoadError(folder.string(),
                  fmt::format("its tokenizer is a {}, not a GPT2Tokenizer or Qwen2Tokenizer", name),
                  "give the folder of a supported language model");
}

}  // namespace

struct ByteLevelTokenizer::State {
  State(BpeFiles files, const SpecialTokens& special, Splitting splitting)
      : bpe(files, "", std::nullopt),
        added_tokens(special.tokens, splitting.normalise),
        patterns(std::move(splitting.patterns)),
        spellings(files.vocabulary),
        vocabulary(std::move(files.vocabulary)) {}

  void encode_from(size_t pattern, std::string_view text, std::vector<int64_t>& ids) const {
    if (pattern == patterns.size()) {
      bpe.encode(text, ids);
      return;
    }
    for (const auto part : patterns[pattern].split(text)) encode_from(pattern + 1, part, ids);
  }

  BytePairEncoding bpe;
  AddedTokenEncoder added_tokens;
  std::vector<Regex> patterns;
  TokenSpellings spellings;
  Vocabulary vocabulary;
};

ByteLevelTokenizer::ByteLevelTokenizer(std::shared_ptr<const State> state)
    : state_(std::move(state)) {}

ByteLevelTokenizer ByteLevelTokenizer::load(const fs::path& folder) {
  Splitting splitting = splitting_of(folder);
  BpeFiles files = read_bpe_files(folder);
  if (files.vocabulary.empty()) throw_damaged(folder, "has no vocab.json");
  const SpecialTokens special = read_special_tokens(folder, {}, files.vocabulary);
  return ByteLevelTokenizer(
      std::make_shared<State>(std::move(files), special, std::move(splitting)));
}

std::vector<int64_t> ByteLevelTokenizer::encode(std::string_view text) const {
  return state_->added_tokens(text, [this](std::string_view part, std::vector<int64_t>& ids) {
    state_->encode_from(0, part, ids);
  });
}

std::string ByteLevelTokenizer::decode(std::span<const int64_t> ids) const {
  return state_->spellings.text_of(ids);
}

std::optional<int64_t> ByteLevelTokenizer::id_of(const std::string& token) const {
  const auto found = state_->vocabulary.find(token);
  if (found == state_->vocabulary.end()) return std::nullopt;
  return found->second;
}

int64_t ByteLevelTokenizer::vocabulary_size() const { return state_->spellings.size(); }

}  // namespace backlot
