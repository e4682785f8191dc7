#include "text/unigram_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "base/error.h"
#include "text/unicode.h"
#include "text/unigram_files.h"

namespace backlot {
namespace {

namespace fs = std::filesystem;

// The parts of `text` between white space.
std::vector<std::string> split_at_white_space(std::string_view text) {
  std::vector<std::string> words;
  std::u32string word;
  const auto end_word = [&] {
    if (!word.empty()) words.push_back(encode_utf8(word));
    word.clear();
  };
  for (const char32_t c : decode_utf8(text)) {
    if (is_white_space(c))
      end_word();
    else
      word += c;
  }
  end_word();
  return words;
}

SpecialTokens special_tokens_of(const fs::path& folder, const UnigramFiles& files,
                                Vocabulary& vocabulary) {
  std::map<std::string, std::string> defaults;
  if (files.is_t5)
    defaults = {{"eos_token", "</s>"}, {"pad_token", "<pad>"}, {"unk_token", "<unk>"}};
  SpecialTokens special = read_special_tokens(folder, defaults, vocabulary);
  std::unordered_set<std::string> known;
  for (const auto& token : special.tokens) known.insert(token.content);
  for (const auto& token : files.registered)
    if (!known.contains(token.content)) special.tokens.push_back(token);
  return special;
}

// The id of the token with this role or, where no file names one, with the usual spelling.
int64_t id_of_role(const SpecialTokens& special, const std::string& role,
                   const std::string& spelling, const Vocabulary& vocabulary,
                   const fs::path& file) {
  if (const auto named = special.named.find(role); named != special.named.end())
    return named->second.id;
  const auto found = vocabulary.find(spelling);
  if (found == vocabulary.end())
    throw_damaged(file, fmt::format("has no {} and no '{}'", role, spelling));
  return found->second;
}

Vocabulary vocabulary_of(const std::vector<ScoredPiece>& pieces) {
  Vocabulary vocabulary;
  vocabulary.reserve(pieces.size());
  for (const auto& piece : pieces)
    vocabulary.emplace(piece.text, static_cast<int64_t>(vocabulary.size()));
  return vocabulary;
}

}  // namespace

struct UnigramTokenizer::State {
  State(const UnigramFiles& files, const SpecialTokens& special, const Vocabulary& vocabulary)
      : model(files.pieces, files.unknown, files.unknown_as),
        splitting(files.splitting),
        added_tokens(special.tokens,
                     [steps = files.normalisers](std::string_view text) {
                       std::string result(text);
                       for (const auto& step : steps) result = step(result);
                       return result;
                     }),
        eos(id_of_role(special, "eos_token", "</s>", vocabulary, files.file)),
        pad(id_of_role(special, "pad_token", "<pad>", vocabulary, files.file)),
        vocabulary_size(static_cast<int64_t>(vocabulary.size())) {}

  // `text` is normalised and holds no registered token.
  void encode_text(std::string_view text, std::vector<int64_t>& ids) const {
    if (!splitting.at_white_space) return encode_marked(std::string(text), ids);
    for (const auto& word : split_at_white_space(text)) encode_marked(word, ids);
  }

  void encode_marked(const std::string& text, std::vector<int64_t>& ids) const {
    if (!splitting.marks || text.empty()) return model.encode(text, ids);
    const std::string& mark = splitting.mark;
    std::string marked;
    for (const char c : text) {
      if (c == ' ')
        marked += mark;
      else
        marked += c;
    }
    if (splitting.mark_first && !marked.starts_with(mark)) marked.insert(0, mark);
    if (!splitting.at_marks) return model.encode(marked, ids);
    for (size_t begin = 0; begin < marked.size();) {
      const size_t end = std::min(marked.find(mark, begin + 1), marked.size());
      model.encode(std::string_view(marked).substr(begin, end - begin), ids);
      begin = end;
    }
  }

  UnigramModel model;
  WordSplitting splitting;
  AddedTokenEncoder added_tokens;
  int64_t eos, pad, vocabulary_size;
};

UnigramTokenizer::UnigramTokenizer(std::shared_ptr<const State> state) : state_(std::move(state)) {}

UnigramTokenizer UnigramTokenizer::load(const fs::path& folder) {
  const UnigramFiles files = read_unigram_files(folder);
  Vocabulary vocabulary = vocabulary_of(files.pieces);
  const SpecialTokens special = special_tokens_of(folder, files, vocabulary);
  return UnigramTokenizer(std::make_shared<State>(files, special, vocabulary));
}

std::vector<int64_t> UnigramTokenizer::encode(std::string_view text) const {
  return state_->added_tokens(text, [this](std::string_view part, std::vector<int64_t>& ids) {
    state_->encode_text(part, ids);
  });
}

PaddedIds UnigramTokenizer::encode_padded(std::string_view text, int64_t length) const {
  if (length < 1)
    throw UsageError("max_sequence_length", fmt::format("{} leaves no room for </s>", length),
                     "give at least 1");
  PaddedIds result{encode(text), 0};
  result.length = std::min(static_cast<int64_t>(result.ids.size()) + 1, length);
  result.ids.resize(static_cast<size_t>(result.length - 1));
  result.ids.push_back(state_->eos);
  result.ids.resize(static_cast<size_t>(length), state_->pad);
  return result;
}

int64_t UnigramTokenizer::eos() const { return state_->eos; }
int64_t UnigramTokenizer::pad() const { return state_->pad; }
int64_t UnigramTokenizer::vocabulary_size() const { return state_->vocabulary_size; }

}  // namespace backlot
