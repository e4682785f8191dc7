// A LanguageModel whose logits depend on every token of the sequence, as it reads them back from
// the blocks it is given. Wrong block tables, blocks shared before they were written and blocks
// used after they were given away change what it says, and most are noted as violations.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine/language_model.h"
#include "language/token_pieces.h"

namespace backlot {

// Logits for what follows `tokens`: whole numbers of few values, so that equal ones come up.
inline std::vector<float> fake_logits(std::span<const int32_t> tokens, int64_t vocabulary) {
  uint64_t hash = 88172645463325252;
  for (const int32_t token : tokens)
    hash = (hash ^ static_cast<uint64_t>(token + 1)) * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019;
  std::vector<float> logits;
  for (int64_t i = 0; i < vocabulary; ++i) {
    hash ^= hash << 13;
    hash ^= hash >> 7;
    hash ^= hash << 17;
    logits.push_back(static_cast<float>(hash >> 40 & 63) / 8.0f);
  }
  return logits;
}

inline int32_t best_of(std::span<const float> logits) {
  return static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());
}

class FakeLanguageModel : public LanguageModel {
 public:
  struct Sizes {
    int64_t vocabulary = 40, context = 1000, block_tokens = 4, blocks = 100;
  };
  explicit FakeLanguageModel(const Sizes& sizes)
      : sizes_(sizes), slots_(static_cast<size_t>(sizes.blocks * sizes.block_tokens)) {}

  int64_t vocabulary_size() const override { return sizes_.vocabulary; }
  int64_t context_length() const override { return sizes_.context; }
  int64_t block_tokens() const override { return sizes_.block_tokens; }
  int64_t block_count() const override { return sizes_.blocks; }
  std::string dtype() const override { return "float32"; }
  std::string device() const override { return "cpu"; }
  uint64_t weight_bytes() const override { return 0; }

  // Called before each pass; may throw what a model throws.
  std::function<void(std::span<const TokenRun>)> before_forward;
  // Changes the logits that follow a sequence.
  std::function<void(std::span<const int32_t>, std::vector<float>&)> alter;

  std::vector<std::string> violations;
  std::map<std::vector<int32_t>, int64_t> times_computed;  // of the sequence that ends there
  int64_t computed_tokens = 0;
  std::vector<std::vector<int64_t>> passes;  // the lengths of their runs

  ForwardResult forward(std::span<const TokenRun> runs) override {
    if (before_forward) before_forward(runs);
    passes.emplace_back();
    // As kernels may, it reads what earlier passes wrote before anything of this one is there.
    std::vector<std::vector<int32_t>> sequences;
    for (const TokenRun& run : runs) sequences.push_back(read(run));
    for (const TokenRun& run : runs) write(run, runs);
    logits_.clear();
    best_.clear();
    for (size_t i = 0; i < runs.size(); ++i) {
      auto& sequence = sequences[i];
      passes.back().push_back(static_cast<int64_t>(runs[i].tokens.size()));
      for (const int32_t token : runs[i].tokens) {
        sequence.push_back(token);
        ++times_computed[sequence];
        ++computed_tokens;
      }
      auto logits = fake_logits(sequence, sizes_.vocabulary);
      if (alter) alter(sequence, logits);
      if (runs[i].wanted == TokenRun::Wanted::logits)
        logits_.insert(logits_.end(), logits.begin(), logits.end());
      if (runs[i].wanted == TokenRun::Wanted::best) best_.push_back(best_of(logits));
    }
    return {logits_, best_};
  }

 private:
  struct Slot {
    int32_t token = -1;
    int64_t position = -1;
  };

  void expect(bool right, const char* what) {
    if (!right) violations.emplace_back(what);
  }

  Slot* slot(const TokenRun& run, int64_t position) {
    const auto block = static_cast<size_t>(position / sizes_.block_tokens);
    if (block >= run.blocks.size() || run.blocks[block] < 0 || run.blocks[block] >= sizes_.blocks) {
      violations.emplace_back("no block for a token");
      return nullptr;
    }
    return &slots_[static_cast<size_t>(run.blocks[block] * sizes_.block_tokens +
                                       position % sizes_.block_tokens)];
  }

  std::vector<int32_t> read(const TokenRun& run) {
    expect(!run.tokens.empty(), "an empty run");
    const auto end = run.position + static_cast<int64_t>(run.tokens.size());
    expect(end <= sizes_.context, "beyond the context");
    expect(std::set<int32_t>(run.blocks.begin(), run.blocks.end()).size() == run.blocks.size(),
           "a block twice in one sequence");
    for (const int32_t token : run.tokens)
      expect(token >= 0 && token < sizes_.vocabulary, "a token that is none");
    std::vector<int32_t> tokens;
    for (int64_t p = 0; p < run.position; ++p) {
      const Slot* s = slot(run, p);
      expect(s && s->position == p, "read before it was written");
      tokens.push_back(s ? s->token : -1);
    }
    return tokens;
  }

  void write(const TokenRun& run, std::span<const TokenRun> all) {
    for (size_t i = 0; i < run.tokens.size(); ++i) {
      const int64_t position = run.position + static_cast<int64_t>(i);
      if (Slot* s = slot(run, position)) *s = {run.tokens[i], position};
      const auto block = static_cast<size_t>(position / sizes_.block_tokens);
      for (const TokenRun& other : all)
        expect(&other == &run || block >= run.blocks.size() ||
                   std::ranges::find(other.blocks, run.blocks[block]) == other.blocks.end(),
               "written while another sequence has it");
    }
  }

  Sizes sizes_;
  std::vector<Slot> slots_;
  std::vector<float> logits_;
  std::vector<int32_t> best_;
};

// Token 0 ends texts, 1 is special without ending them; others are letters and parts of
// characters: 2 and 3 together are "é", 4 to 6 "€".
class FakePieces : public TokenPieces {
 public:
  FakePieces() {
    bytes_ = {"<end>", "<mark>", "\xC3", "\xA9", "\xE2", "\x82", "\xAC", "ab", " ", "the"};
    for (char c = 'a'; c <= 'z'; ++c) bytes_.emplace_back(1, c);
  }
  std::string_view bytes(int32_t token) const override {
    return static_cast<size_t>(token) < bytes_.size() ? bytes_[token] : std::string_view();
  }
  bool is_special(int32_t token) const override { return token <= 1; }
  bool ends_text(int32_t token) const override { return token == 0; }

 private:
  std::vector<std::string> bytes_;
};

}  // namespace backlot
