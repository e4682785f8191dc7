// Language models in tests: sequences in blocks that lie in no order, and how far logits are apart.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "pipelines/language.h"
#include "pipelines/oracle_case.h"

namespace backlot {

using Wanted = TokenRun::Wanted;
using Logits = std::vector<float>;

// A sequence that grows, in blocks that nobody else has.
struct Sequence {
  std::vector<int32_t> tokens, blocks;
  int64_t computed = 0;
};

class Loaded {
 public:
  explicit Loaded(LanguageModelOptions options) {
    Silent silent;
    if (options.cache_tokens == 0) options.cache_tokens = 2048;
    model_ = load_language_model(options, at::kCPU, silent);
    free_.resize(model_->block_count());
    std::iota(free_.begin(), free_.end(), 0);
    std::shuffle(free_.begin(), free_.end(), std::mt19937(7));  // no sequence's blocks are in order
  }

  LanguageModel& operator*() { return *model_; }
  LanguageModel* operator->() { return model_.get(); }

  Sequence sequence(std::vector<int32_t> tokens, int64_t room) {
    Sequence made{std::move(tokens), {}};
    const auto blocks =
        (std::ssize(made.tokens) + room + model_->block_tokens() - 1) / model_->block_tokens();
    EXPECT_LE(blocks, std::ssize(free_));
    made.blocks.assign(free_.end() - blocks, free_.end());
    free_.resize(free_.size() - blocks);
    return made;
  }

  // The logits after the next `count` tokens of one sequence.
  Logits next(Sequence& of, int64_t count) {
    const TokenRun run = run_of(of, count, Wanted::logits);
    of.computed += count;
    const auto result = model_->forward(std::span(&run, 1));
    return {result.logits.begin(), result.logits.end()};
  }
  Logits rest(Sequence& of) { return next(of, std::ssize(of.tokens) - of.computed); }

  static TokenRun run_of(const Sequence& of, int64_t count, Wanted wanted) {
    return {.tokens = std::span(of.tokens).subspan(of.computed, count),
            .position = of.computed,
            .blocks = of.blocks,
            .wanted = wanted};
  }

 private:
  std::unique_ptr<LanguageModel> model_;
  std::vector<int32_t> free_;
};

inline int32_t largest(std::span<const float> logits) {
  return static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());
}

inline double farthest(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double most = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double off = std::abs(static_cast<double>(a[i]) - b[i]);
    most = std::isnan(off) ? INFINITY : std::max(most, off);
  }
  return most;
}

}  // namespace backlot
