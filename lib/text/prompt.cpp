#include "text/prompt.h"

#include <optional>
#include <utility>

#include "text/prompt_weights.h"

namespace backlot {
namespace {

constexpr std::string_view chunk_break = "BREAK";
constexpr size_t comma_reach = 20;  // tokens

bool is_word_byte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x80 || c == '_' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
         (c >= 'a' && c <= 'z');
}

// Where the next BREAK that is a word by itself begins.
size_t find_break(std::string_view text) {
  for (size_t at = 0; (at = text.find(chunk_break, at)) != std::string_view::npos; ++at) {
    const size_t end = at + chunk_break.size();
    const bool begins = at == 0 || !is_word_byte(text[at - 1]);
    const bool ends = end == text.size() || !is_word_byte(text[end]);
    if (begins && ends) return at;
  }
  return std::string_view::npos;
}

class Chunker {
 public:
  Chunker(const ClipTokenizer& tokenizer, bool chunk_long)
      : tokenizer_(tokenizer),
        chunk_long_(chunk_long),
        room_(static_cast<size_t>(tokenizer.max_length()) - 2) {
    const auto comma = tokenizer.encode(",");
    if (comma.size() == 1) comma_ = comma[0];
  }

  void add(const WeightedText& part) {
    std::string_view rest = part.text;
    while (chunk_long_) {
      const size_t at = find_break(rest);
      if (at == std::string_view::npos) break;
      add_tokens(rest.substr(0, at), part.weight);
      end_chunk();
      rest.remove_prefix(at + chunk_break.size());
    }
    add_tokens(rest, part.weight);
  }

  PromptChunks finish() {
    if (!ids_.empty() || chunks_.ids.empty()) end_chunk();
    if (!cut_off_.empty()) chunks_.truncated = tokenizer_.decode(cut_off_);
    return std::move(chunks_);
  }

 private:
  void add_tokens(std::string_view text, float weight) {
    for (const int64_t id : tokenizer_.encode(text)) {
      if (ids_.size() == room_ && !chunk_long_) {
        cut_off_.push_back(id);
        continue;
      }
      if (ids_.size() == room_) end_full_chunk(id);
      if (id == comma_) after_comma_ = ids_.size() + 1;
      ids_.push_back(id);
      weights_.push_back(weight);
      chunks_.weighted |= weight != 1;
    }
  }

  // A comma that comes next does not move what is before it to the next chunk.
  void end_full_chunk(int64_t next) {
    std::vector<int64_t> ids;
    std::vector<float> weights;
    if (next != comma_ && after_comma_ && room_ - *after_comma_ < comma_reach) {
      const auto from = static_cast<ptrdiff_t>(*after_comma_);
      ids.assign(ids_.begin() + from, ids_.end());
      weights.assign(weights_.begin() + from, weights_.end());
      ids_.resize(*after_comma_);
      weights_.resize(*after_comma_);
    }
    end_chunk();
    ids_ = std::move(ids);
    weights_ = std::move(weights);
  }

  void end_chunk() {
    const auto length = static_cast<size_t>(tokenizer_.max_length());
    ids_.insert(ids_.begin(), tokenizer_.bos());
    ids_.push_back(tokenizer_.eos());
    ids_.resize(length, tokenizer_.pad());
    weights_.insert(weights_.begin(), 1);
    weights_.resize(length, 1);
    chunks_.ids.push_back(std::exchange(ids_, {}));
    chunks_.weights.push_back(std::exchange(weights_, {}));
    after_comma_.reset();
  }

  const ClipTokenizer& tokenizer_;
  const bool chunk_long_;
  const size_t room_;  // tokens of text in a chunk
  std::optional<int64_t> comma_;
  std::vector<int64_t> ids_;  // of the chunk in hand
  std::vector<float> weights_;
  std::optional<size_t> after_comma_;  // position after the last comma in hand
  std::vector<int64_t> cut_off_;
  PromptChunks chunks_;
};

}  // namespace

PromptChunks chunk_prompt(const ClipTokenizer& tokenizer, std::string_view prompt, bool chunk_long,
                          bool weighting) {
  Chunker chunker(tokenizer, chunk_long);
  if (weighting) {
    for (const WeightedText& part : parse_weights(prompt)) chunker.add(part);
  } else {
    chunker.add({std::string(prompt), 1});
  }
  return chunker.finish();
}

}  // namespace backlot
