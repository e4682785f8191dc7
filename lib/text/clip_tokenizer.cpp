#include "text/clip_tokenizer.h"

#include <fmt/format.h>

#include "base/error.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/byte_alphabet.h"
#include "text/regex.h"
#include "text/unicode.h"

namespace backlot {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view end_of_word = "</w>";
constexpr int64_t default_max_length = 77;

std::string word_pattern() {
  return fmt::format(R"(<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d)"
                     R"(|\p{{L}}+|\p{{N}}|[^{}\p{{L}}\p{{N}}]+)",
                     white_space_class);
}

// The vocabulary that OpenAI's merges imply.
Vocabulary vocabulary_of(const std::vector<Merge>& merges) {
  Vocabulary vocabulary;
  const auto add = [&](std::string token) {
    vocabulary.emplace(std::move(token), static_cast<int64_t>(vocabulary.size()));
  };
  for (const unsigned char byte : byte_alphabet_order()) add(byte_alphabet()[byte]);
  for (const unsigned char byte : byte_alphabet_order())
    add(byte_alphabet()[byte] + std::string(end_of_word));
  for (const Merge& merge : merges) add(merge.left + merge.right);
  add("<|startoftext|>");
  add("<|endoftext|>");
  return vocabulary;
}

std::string normalise(std::string_view text) {
  const std::u32string composed = nfc(decode_utf8(text));
  std::u32string spaced;
  spaced.reserve(composed.size());
  bool in_space = false;
  for (const char32_t c : composed) {
    const bool space = is_white_space(c);
    if (!space || !in_space) spaced += space ? U' ' : c;
    in_space = space;
  }
  return encode_utf8(lowercase(spaced));
}

// As Python's str.strip(), which also takes the information separators.
std::string strip(std::string_view utf8) {
  const std::u32string text = decode_utf8(utf8);
  const auto kept = [](char32_t c) { return !is_white_space(c) && !(c >= 0x1C && c <= 0x1F); };
  size_t begin = 0, end = text.size();
  while (begin < end && !kept(text[begin])) ++begin;
  while (end > begin && !kept(text[end - 1])) --end;
  return encode_utf8(std::u32string_view(text).substr(begin, end - begin));
}

std::string replace_all(std::string_view text, std::string_view what, std::string_view with) {
  std::string out;
  for (size_t at = 0; (at = text.find(what)) != std::string_view::npos;) {
    out += text.substr(0, at);
    out += with;
    text.remove_prefix(at + what.size());
  }
  return out += text;
}

}  // namespace

struct ClipTokenizer::State {
  State(const BpeFiles& files, const SpecialTokens& special)
      : bpe(files, end_of_word, special.named.at("unk_token").id),
        words(word_pattern()),
        added_tokens(special.tokens, normalise),
        spellings(files.vocabulary),
        bos(special.named.at("bos_token").id),
        eos(special.named.at("eos_token").id),
        pad(special.named.at("pad_token").id),
        max_length(special.max_length.value_or(default_max_length)) {}

  // `text` is normalised and holds no registered token.
  void encode_words(std::string_view text, std::vector<int64_t>& ids) const {
    for (const auto word : words.find_all(text)) {
      // The spelling of a special token that is not registered is cut again, by the second
      // splitting of the reference (GPT-2's pattern); nothing else that comes here is affected.
      if (word.starts_with("<|") && word.ends_with("text|>")) {
        bpe.encode(word.substr(0, 2), ids);
        bpe.encode(word.substr(2, word.size() - 4), ids);
        bpe.encode(word.substr(word.size() - 2), ids);
      } else {
        bpe.encode(word, ids);
      }
    }
  }

  BytePairEncoding bpe;
  Regex words;
  AddedTokenEncoder added_tokens;
  TokenSpellings spellings;
  int64_t bos, eos, pad, max_length;
};

ClipTokenizer::ClipTokenizer(std::shared_ptr<const State> state) : state_(std::move(state)) {}

ClipTokenizer ClipTokenizer::load(const fs::path& folder) {
  const std::string name = tokenizer_class(folder);
  if (!name.empty() && name != "CLIPTokenizer")
    throw LoadError(folder.string(),
                    fmt::format("its tokenizer is a {}, not a CLIPTokenizer", name),
                    "give the tokenizer folder of a CLIP text encoder");
  BpeFiles files = read_bpe_files(folder);
  if (files.vocabulary.empty()) files.vocabulary = vocabulary_of(files.merges);
  const auto special = read_special_tokens(folder,
                                           {{"bos_token", "<|startoftext|>"},
                                            {"eos_token", "<|endoftext|>"},
                                            {"pad_token", "<|endoftext|>"},
                                            {"unk_token", "<|endoftext|>"}},
                                           files.vocabulary);
  if (special.max_length && *special.max_length < 3)
    throw_damaged(
        folder / "tokenizer_config.json",
        fmt::format("model_max_length is {}, which leaves no room for text", *special.max_length));
  return ClipTokenizer(std::make_shared<State>(files, special));
}

std::vector<int64_t> ClipTokenizer::encode(std::string_view text) const {
  return state_->added_tokens(text, [this](std::string_view part, std::vector<int64_t>& ids) {
    state_->encode_words(part, ids);
  });
}

std::string ClipTokenizer::decode(std::span<const int64_t> ids) const {
  return strip(replace_all(state_->spellings.text_of(ids), end_of_word, " "));
}

int64_t ClipTokenizer::bos() const { return state_->bos; }
int64_t ClipTokenizer::eos() const { return state_->eos; }
int64_t ClipTokenizer::pad() const { return state_->pad; }
int64_t ClipTokenizer::max_length() const { return state_->max_length; }
int64_t ClipTokenizer::vocabulary_size() const { return state_->spellings.size(); }

}  // namespace backlot
