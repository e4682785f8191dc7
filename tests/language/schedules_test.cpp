// Every way of putting requests together gives the texts that each has alone.
#include <gtest/gtest.h>

#include <random>

#include "base/text.h"
#include "base/utf8.h"
#include "language/fake_language_model.h"
#include "language/generator.h"

namespace backlot {
namespace {

struct Alone {
  std::vector<int32_t> token_ids;
  std::string text;
  FinishReason finish_reason = FinishReason::length;
};

// The text by the plainest means: all logits from all tokens, one sequence, whole strings.
Alone generate_alone(const GenerationRequest& request, const FakeLanguageModel& model) {
  const FakePieces pieces;
  Sampler sampler;
  Alone alone;
  auto tokens = request.prompt;
  std::string bytes;
  const auto room =
      std::min(model.context_length(), model.block_count() * model.block_tokens() + 1);
  const auto most = std::min(request.max_tokens, room - static_cast<int64_t>(tokens.size()));
  const auto stopped = [&] {
    for (size_t end = 1; end <= bytes.size(); ++end) {
      size_t longest = 0;
      for (const auto& stop : request.stop_strings)
        if (bytes.substr(0, end).ends_with(stop)) longest = std::max(longest, stop.size());
      if (longest == 0) continue;
      bytes.resize(end - longest);
      return true;
    }
    return false;
  };
  while (static_cast<int64_t>(alone.token_ids.size()) < most) {
    const auto logits = fake_logits(tokens, model.vocabulary_size());
    const int32_t token =
        sampler.sample(request.sampling, logits, tokens, alone.token_ids.size(), "alone");
    tokens.push_back(token);
    alone.token_ids.push_back(token);
    const bool ends = pieces.ends_text(token) && !request.ignore_eos;
    if (!pieces.is_special(token)) bytes += pieces.bytes(token);
    if (ends || stopped()) {
      alone.finish_reason = FinishReason::stop;
      break;
    }
  }
  alone.text = encode_utf8(decode_utf8(bytes));
  return alone;
}

class World {
 public:
  explicit World(uint32_t seed) : random_(seed), model_(sizes()) {}

  void play() {
    GeneratorOptions options;
    options.max_sequences = below(8) + 1;
    options.step_tokens = below(2) ? below(8) + 1 : below(60) + 1;
    options.sampling_threads = 1;
    Generator generator(model_, pieces_, options);
    make_beginnings();
    let_memory_run_out();
    const size_t count = below(12) + 1;
    size_t ended = 0;
    while (ended < count) {
      while (requests_.size() < count && (generator.idle() || below(3) == 0)) submit(generator);
      if (below(40) == 0) generator.cancel(static_cast<int64_t>(below(count)));
      for (auto& outcome : generator.step()) {
        ++ended;
        check(outcome);
      }
      ASSERT_TRUE(model_.violations.empty()) << model_.violations.front();
      ASSERT_LE(model_.passes.size(), 20'000u) << "it does not come to an end";
    }
    EXPECT_TRUE(generator.idle());
    EXPECT_EQ(generator.statistics().requests, static_cast<int64_t>(count));
    EXPECT_LE(generator.statistics().most_together, options.max_sequences);
    preemptions += generator.statistics().preemptions;
    shared += generator.statistics().shared_tokens;
    take_all_blocks(generator);
  }

  int64_t preemptions = 0, shared = 0, cancelled = 0, stopped = 0;

 private:
  size_t below(size_t n) { return random_() % n; }

  FakeLanguageModel::Sizes sizes() {
    FakeLanguageModel::Sizes sizes;
    sizes.block_tokens = std::vector{1, 2, 4, 7}[below(4)];
    sizes.blocks = static_cast<int64_t>(36 / sizes.block_tokens + below(60) / sizes.block_tokens);
    sizes.context = below(3) ? 1000 : 30 + static_cast<int64_t>(below(10));
    return sizes;
  }

  std::vector<int32_t> some_tokens(size_t count) {
    std::vector<int32_t> tokens(count);
    for (auto& token : tokens) token = static_cast<int32_t>(below(36));
    return tokens;
  }

  void make_beginnings() {
    for (int i = 0; i < 3; ++i) beginnings_.push_back(some_tokens(below(14)));
    beginnings_.push_back(beginnings_[0]);
    for (const int32_t token : some_tokens(6)) beginnings_[3].push_back(token);
  }

  // In one of four worlds passes of more than some number of tokens don't fit.
  void let_memory_run_out() {
    if (below(4) != 0) return;
    model_.before_forward = [most = below(12) + 1](std::span<const TokenRun> runs) {
      size_t tokens = 0;
      for (const auto& run : runs) tokens += run.tokens.size();
      if (tokens > most) throw OutOfMemory("cpu", "no memory", "take less");
    };
  }

  void submit(Generator& generator) {
    GenerationRequest request;
    request.prompt = beginnings_[below(beginnings_.size())];
    for (const int32_t token : some_tokens(below(4) + request.prompt.empty()))
      request.prompt.push_back(token);
    request.max_tokens = static_cast<int64_t>(below(3) ? below(20) : below(60)) + 1;
    if (below(3) == 0) request.sampling.repetition_penalty = 1.3;
    if (below(3) != 0) request.sampling.temperature = 0.7;
    if (below(3) == 0) request.sampling.top_k = 5;
    if (below(3) == 0) request.sampling.top_p = 0.8;
    request.sampling.seed = below(3);
    request.ignore_eos = below(2) == 0;
    if (below(2) == 0) request.stop_strings = {"ab", "é", "the"};
    const size_t i = requests_.size();
    request.on_text = [this, i](std::string_view piece) {
      EXPECT_TRUE(is_utf8(piece));
      shown_[i] += piece;
    };
    requests_.push_back(request);
    ASSERT_EQ(generator.submit(std::move(request)), static_cast<int64_t>(i));
  }

  void check(const GenerationOutcome& outcome) {
    const auto& request = requests_.at(static_cast<size_t>(outcome.id));
    ASSERT_TRUE(outcome.result) << outcome.error->what();
    auto alone = generate_alone(request, model_);
    const auto& result = *outcome.result;
    EXPECT_EQ(shown_[static_cast<size_t>(outcome.id)], result.text);
    EXPECT_EQ(result.prompt_tokens, static_cast<int64_t>(request.prompt.size()));
    EXPECT_LT(result.shared_tokens, result.prompt_tokens);
    if (result.finish_reason == FinishReason::cancelled) {
      ++cancelled;
      ASSERT_LE(result.token_ids.size(), alone.token_ids.size());
      alone.token_ids.resize(result.token_ids.size());
      ASSERT_EQ(result.token_ids, alone.token_ids);
      return;
    }
    stopped += result.finish_reason == FinishReason::stop;
    ASSERT_EQ(result.token_ids, alone.token_ids);
    EXPECT_EQ(result.text, alone.text);
    EXPECT_EQ(result.finish_reason, alone.finish_reason);
  }

  // When all is over, one sequence can have every block.
  void take_all_blocks(Generator& generator) {
    if (model_.context_length() < 1000) return;
    model_.before_forward = nullptr;
    GenerationRequest request;
    request.prompt = some_tokens(static_cast<size_t>(model_.block_count() * model_.block_tokens()));
    std::vector<GenerationRequest> requests = {request};
    const auto outcomes = generator.run(requests);
    ASSERT_TRUE(outcomes[0].result) << outcomes[0].error->what();
    EXPECT_EQ(outcomes[0].result->token_ids.size(), 1u);
    EXPECT_TRUE(model_.violations.empty());
  }

  std::mt19937 random_;
  FakeLanguageModel model_;
  FakePieces pieces_;
  std::vector<std::vector<int32_t>> beginnings_;
  std::vector<GenerationRequest> requests_;
  std::map<size_t, std::string> shown_;
};

TEST(Schedules, AllGiveTheTextsThatEachRequestHasAlone) {
  int64_t preemptions = 0, shared = 0, cancelled = 0, stopped = 0;
  for (uint32_t seed = 0; seed < 4000; ++seed) {
    SCOPED_TRACE(seed);
    World world(seed);
    world.play();
    if (testing::Test::HasFailure()) return;
    preemptions += world.preemptions;
    shared += world.shared;
    cancelled += world.cancelled;
    stopped += world.stopped;
  }
  // The worlds are what they are meant to be.
  EXPECT_GT(preemptions, 1000);
  EXPECT_GT(shared, 10'000);
  EXPECT_GT(cancelled, 100);
  EXPECT_GT(stopped, 1000);
}

}  // namespace
}  // namespace backlot
