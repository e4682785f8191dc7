#include "text/byte_level_tokenizer.h"

#include <fmt/format.h>

#include <stdexcept>
#include <unordered_set>

#include "base/error.h"

namespace backlot {
namespace {

namespace fs = std::filesystem;

std::vector<AddedToken> without_special(const std::vector<AddedToken>& tokens) {
  std::vector<AddedToken> rest;
  for (const auto& token : tokens)
    if (!token.special) rest.push_back(token);
  return rest;
}

}  // namespace

struct ByteLevelTokenizer::State {
  State(BytePairEncoding encoding, const Vocabulary& tokens, SpecialTokens registered,
        PreTokenizer pre_tokenizer)
      : bpe(std::move(encoding)),
        special(std::move(registered)),
        all_added(special.tokens, pre_tokenizer.normalise),
        plain_added(without_special(special.tokens), pre_tokenizer.normalise),
        patterns(std::move(pre_tokenizer.patterns)),
        spellings(tokens),
        vocabulary(tokens) {
    for (const auto& token : special.tokens)
      if (token.special) special_ids.insert(token.id);
  }

  void encode_from(size_t pattern, std::string_view text, std::vector<int64_t>& ids) const {
    if (pattern == patterns.size()) {
      bpe.encode(text, ids);
      return;
    }
    for (const auto part : patterns[pattern].split(text)) encode_from(pattern + 1, part, ids);
  }

  BytePairEncoding bpe;
  SpecialTokens special;
  AddedTokenEncoder all_added, plain_added;
  std::unordered_set<int64_t> special_ids;
  std::vector<Regex> patterns;
  TokenSpellings spellings;
  Vocabulary vocabulary;
};

ByteLevelTokenizer::ByteLevelTokenizer(BytePairEncoding encoding, const Vocabulary& vocabulary,
                                       SpecialTokens special, PreTokenizer pre_tokenizer)
    : state_(std::make_shared<State>(std::move(encoding), vocabulary, std::move(special),
                                     std::move(pre_tokenizer))) {}

ByteLevelTokenizer ByteLevelTokenizer::load(const fs::path& folder) {
  PreTokenizer pre_tokenizer = PreTokenizer::of_folder(folder);
  BpeFiles files = read_bpe_files(folder);
  if (files.vocabulary.empty()) throw_damaged(folder, "has no vocab.json");
  // Merges make tokens of the vocabulary only, so the encoding comes before the added tokens.
  BytePairEncoding encoding(files, "", std::nullopt);
  SpecialTokens special = read_special_tokens(folder, {}, files.vocabulary);
  return ByteLevelTokenizer(std::move(encoding), files.vocabulary, std::move(special),
                            std::move(pre_tokenizer));
}

std::vector<int64_t> ByteLevelTokenizer::encode(std::string_view text,
                                                SpecialTokensInText special) const {
  const auto& added =
      special == SpecialTokensInText::parsed ? state_->all_added : state_->plain_added;
  try {
    return added(text, [this](std::string_view part, std::vector<int64_t>& ids) {
      state_->encode_from(0, part, ids);
    });
  } catch (const std::runtime_error& error) {
    throw LoadError("tokenizer", fmt::format("its pattern fails on a text: {}", error.what()),
                    "fetch the tokenizer's files again");
  }
}

std::string ByteLevelTokenizer::decode(std::span<const int64_t> ids) const {
  return state_->spellings.text_of(ids);
}

std::optional<int64_t> ByteLevelTokenizer::id_of(const std::string& token) const {
  const auto found = state_->vocabulary.find(token);
  if (found == state_->vocabulary.end()) return std::nullopt;
  return found->second;
}

std::string_view ByteLevelTokenizer::bytes_of(int64_t id) const {
  return state_->spellings.bytes_of(id);
}

bool ByteLevelTokenizer::is_special(int64_t id) const { return state_->special_ids.contains(id); }

const SpecialTokens& ByteLevelTokenizer::special_tokens() const { return state_->special; }

int64_t ByteLevelTokenizer::vocabulary_size() const { return state_->spellings.size(); }

}  // namespace backlot
