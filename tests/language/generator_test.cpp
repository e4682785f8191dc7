#include "language/generator.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "language/fake_language_model.h"

namespace backlot {
namespace {

constexpr int32_t letters = 10;  // the first token that is a letter

GenerationRequest request_for(std::vector<int32_t> prompt, int64_t max_tokens) {
  GenerationRequest request;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  request.ignore_eos = true;
  return request;
}

std::vector<int32_t> tokens_from(int32_t first, size_t count) {
  std::vector<int32_t> tokens(count);
  for (size_t i = 0; i < count; ++i) tokens[i] = letters + (first + static_cast<int32_t>(i)) % 26;
  return tokens;
}

// `count` prompts with the same first `common` tokens and two of their own.
std::vector<GenerationRequest> alike(size_t count, size_t common, int64_t max_tokens) {
  std::vector<GenerationRequest> requests;
  for (size_t i = 0; i < count; ++i) {
    auto prompt = tokens_from(0, common);
    prompt.push_back(static_cast<int32_t>(i));
    prompt.push_back(1);
    requests.push_back(request_for(prompt, max_tokens));
  }
  return requests;
}

class GeneratorTest : public testing::Test {
 protected:
  ~GeneratorTest() override { EXPECT_TRUE(model.violations.empty()); }

  // Says the letters of `text` one after the other, whatever the prompt, and then the end.
  void say(const std::string& text, size_t prompt_tokens) {
    model.alter = [=](std::span<const int32_t> tokens, std::vector<float>& logits) {
      const size_t at = tokens.size() - prompt_tokens;
      logits[at < text.size() ? letters + text[at] - 'a' : 0] = 100.0f;
    };
  }

  GenerationOutcome run_one(GenerationRequest request) {
    Generator generator(model, pieces);
    return generator.run({std::move(request)}).at(0);
  }

  FakeLanguageModel model{FakeLanguageModel::Sizes()};
  FakePieces pieces;
};

TEST_F(GeneratorTest, ComputesACommonBeginningOnce) {
  Generator generator(model, pieces);
  const auto outcomes = generator.run(alike(20, 40, 1));
  for (const auto& [tokens, times] : model.times_computed)
    EXPECT_TRUE(times == 1 || tokens.size() > 40) << tokens.size();
  EXPECT_EQ(model.computed_tokens, 40 + 20 * 2);
  EXPECT_EQ(outcomes[0].result->shared_tokens, 0);
  EXPECT_EQ(outcomes[7].result->shared_tokens, 40);
  const auto& statistics = generator.statistics();
  EXPECT_EQ(statistics.prompt_tokens, 20 * 42);
  EXPECT_EQ(statistics.shared_tokens, 19 * 40);
  EXPECT_EQ(statistics.prefill_tokens, 40 + 20 * 2);
  EXPECT_EQ(statistics.generated_tokens, 20);
  EXPECT_EQ(statistics.steps, 2);
}

TEST_F(GeneratorTest, FindsTheBeginningOfRequestsThatHaveEnded) {
  Generator generator(model, pieces);
  generator.run(alike(1, 40, 3));
  const auto again = generator.run(alike(1, 40, 3));
  EXPECT_EQ(again[0].result->shared_tokens, 40);
}

TEST_F(GeneratorTest, WaitsForACommonBeginningOnlyAsLongAsItTakes) {
  GeneratorOptions options;
  options.step_tokens = 16;
  Generator generator(model, pieces, options);
  auto longer = tokens_from(0, 8);
  for (const int32_t token : tokens_from(13, 200)) longer.push_back(token);
  generator.submit(request_for(longer, 1));
  auto shorter = tokens_from(0, 8);
  shorter.push_back(3);
  const int64_t second = generator.submit(request_for(shorter, 1));
  int64_t passes = 0;
  for (bool ended = false; !ended; ++passes)
    for (const auto& outcome : generator.step()) ended |= outcome.id == second;
  EXPECT_LE(passes, 14);  // the first takes 13
  EXPECT_EQ(model.times_computed[tokens_from(0, 8)], 1);
}

TEST_F(GeneratorTest, GoesOnDecodingWhileALongPromptIsComputed) {
  GeneratorOptions options;
  options.step_tokens = 16;
  Generator generator(model, pieces, options);
  generator.submit(request_for({10, 11, 12}, 50));
  generator.step();
  generator.submit(request_for(tokens_from(5, 100), 1));
  generator.step();
  generator.step();
  EXPECT_EQ(model.passes.at(1), (std::vector<int64_t>{1, 15}));
  EXPECT_EQ(model.passes.at(2), (std::vector<int64_t>{1, 15}));
}

TEST_F(GeneratorTest, LetsRequestsJoinAsOthersEnd) {
  GeneratorOptions options;
  options.max_sequences = 2;
  Generator generator(model, pieces, options);
  std::vector<GenerationRequest> requests;
  for (int32_t i = 0; i < 6; ++i) requests.push_back(request_for({10 + i, 20}, i % 2 ? 3 : 9));
  generator.run(requests);
  EXPECT_EQ(generator.statistics().most_together, 2);
  // 36 tokens by two sequences at a time; waiting for both to end would take 27 passes.
  EXPECT_LE(generator.statistics().steps, 22);
}

TEST_F(GeneratorTest, EndsAtAnEndTokenWhichIsAmongTheIds) {
  say("hello", 2);
  auto request = request_for({10, 11}, 100);
  request.ignore_eos = false;
  const auto result = *run_one(request).result;
  EXPECT_EQ(result.text, "hello");
  EXPECT_EQ(result.token_ids.size(), 6u);
  EXPECT_EQ(result.token_ids.back(), 0);
  EXPECT_EQ(finish_reason_name(result.finish_reason), "stop");
}

TEST_F(GeneratorTest, EndsBeforeAStopStringAcrossTokens) {
  say("onetwothree", 2);
  auto request = request_for({10, 11}, 100);
  request.stop_strings = {"twot"};
  std::vector<std::string> shown;
  request.on_text = [&](std::string_view piece) { shown.emplace_back(piece); };
  const auto result = *run_one(request).result;
  EXPECT_EQ(result.text, "one");
  EXPECT_EQ(shown, (std::vector<std::string>{"o", "n", "e"}));
  EXPECT_EQ(result.token_ids.size(), 7u);
  EXPECT_EQ(result.finish_reason, FinishReason::stop);
}

TEST_F(GeneratorTest, CutsWhatIsAskedForAtTheContext) {
  FakeLanguageModel::Sizes sizes;
  sizes.context = 20;
  FakeLanguageModel small(sizes);
  Generator generator(small, pieces);
  const auto result = *generator.run({request_for(tokens_from(0, 15), 100)})[0].result;
  EXPECT_EQ(result.token_ids.size(), 5u);
  EXPECT_EQ(result.finish_reason, FinishReason::length);
  EXPECT_TRUE(small.violations.empty());
}

TEST_F(GeneratorTest, NamesWhatIsWrongWithARequest) {
  const auto message = [&](GenerationRequest request) {
    request.name = "prompt 3";
    const auto outcome = run_one(std::move(request));
    return outcome.error ? std::string(outcome.error->what()) : "nothing";
  };
  EXPECT_EQ(message(request_for({}, 5)),
            "prompt 3: the prompt is empty; give it at least one token");
  EXPECT_EQ(message(request_for(tokens_from(0, 1000), 5)),
            "prompt 3: 1000 tokens of prompt, the model's context is 1000; shorten the prompt");
  EXPECT_EQ(
      message(request_for(tokens_from(0, 401), 5)),
      "prompt 3: 401 tokens of prompt, the cache of keys and values has room for 400; shorten "
      "the prompt, or give the cache more room");
  EXPECT_EQ(message(request_for({40}, 5)),
            "prompt 3: token 40 of the prompt is not among the model's 40; use the tokenizer that "
            "belongs to the model");
  EXPECT_EQ(message(request_for({10}, 0)), "prompt 3: 0 tokens make no text; raise max_tokens");
  auto request = request_for({10}, 5);
  request.stop_strings = {"\xFF"};
  EXPECT_EQ(message(request), "prompt 3: a stop string is no UTF-8; correct it or leave it out");
  request.stop_strings = {""};
  EXPECT_EQ(message(request), "prompt 3: a stop string is empty; correct it or leave it out");
  request.stop_strings = {};
  request.sampling.top_p = 3;
  EXPECT_EQ(message(request), "prompt 3: top_p 3 is out of range; give a number from 0 to 1");
  request.sampling.top_p = 1;
  EXPECT_EQ(message(request), "nothing");
}

TEST_F(GeneratorTest, FailsOnlyTheRequestWhoseLogitsAreNone) {
  model.alter = [](std::span<const int32_t> tokens, std::vector<float>& logits) {
    if (tokens[0] == 13 && tokens.size() > 4) logits[7] = std::nanf("");
  };
  std::vector<GenerationRequest> requests;
  for (int32_t i = 10; i < 16; ++i) {
    requests.push_back(request_for({i, 20}, 8));
    requests.back().sampling.temperature = 0.8;
    requests.back().name = "prompt " + std::to_string(i);
  }
  Generator generator(model, pieces);
  const auto outcomes = generator.run(requests);
  for (size_t i = 0; i < outcomes.size(); ++i) EXPECT_EQ(outcomes[i].result.has_value(), i != 3);
  ASSERT_TRUE(outcomes[3].error);
  EXPECT_EQ(outcomes[3].error->where(), "prompt 13");
  EXPECT_EQ(generator.statistics().failed, 1);
}

TEST_F(GeneratorTest, FailsOnlyTheRequestThatTheModelRefuses) {
  model.before_forward = [](std::span<const TokenRun> runs) {
    for (const auto& run : runs)
      if (run.position == 0 && run.tokens[0] == 13) throw ItemError("cpu", "it broke", "pray");
  };
  std::vector<GenerationRequest> requests;
  for (int32_t i = 10; i < 16; ++i) requests.push_back(request_for({i, 20}, 8));
  Generator generator(model, pieces);
  const auto outcomes = generator.run(requests);
  for (size_t i = 0; i < outcomes.size(); ++i) EXPECT_EQ(outcomes[i].result.has_value(), i != 3);
  EXPECT_STREQ(outcomes[3].error->what(), "prompt: it broke; pray");
}

TEST_F(GeneratorTest, FailsARequestThatAloneExceedsMemory) {
  model.before_forward = [](std::span<const TokenRun> runs) {
    for (const auto& run : runs)
      if (run.position + static_cast<int64_t>(run.tokens.size()) > 30)
        throw OutOfMemory("cpu", "no memory", "take less");
  };
  Generator generator(model, pieces);
  const auto outcomes =
      generator.run({request_for(tokens_from(0, 5), 8), request_for(tokens_from(7, 40), 8)});
  EXPECT_TRUE(outcomes[0].result);
  ASSERT_TRUE(outcomes[1].error);
  EXPECT_EQ(outcomes[1].error->problem(), "no memory");
}

TEST_F(GeneratorTest, StopsBetweenPassesAndCanGoOn) {
  bool stop = false;
  GeneratorOptions options;
  options.stop_requested = [&] { return stop; };
  Generator generator(model, pieces, options);
  generator.submit(request_for({10, 11}, 5));
  EXPECT_TRUE(generator.step().empty());
  stop = true;
  EXPECT_THROW(generator.step(), Interrupted);
  EXPECT_EQ(model.passes.size(), 1u);
  stop = false;
  std::vector<GenerationOutcome> ended;
  while (ended.empty()) ended = generator.step();
  EXPECT_EQ(ended[0].result->token_ids.size(), 5u);
}

TEST_F(GeneratorTest, ListenersMayCancelAndSubmit) {
  Generator generator(model, pieces);
  auto next = request_for({12}, 2);
  int64_t first = -1, second = -1;
  auto request = request_for({10, 11}, 50);
  request.on_text = [&](std::string_view) {
    generator.cancel(first);
    if (second < 0) second = generator.submit(next);
  };
  first = generator.submit(request);
  std::map<int64_t, GenerationResult> results;
  while (!generator.idle())
    for (auto& outcome : generator.step()) results[outcome.id] = *outcome.result;
  EXPECT_EQ(results.at(first).finish_reason, FinishReason::cancelled);
  EXPECT_LT(results.at(first).token_ids.size(), 50u);
  EXPECT_EQ(results.at(second).token_ids.size(), 2u);
}

TEST_F(GeneratorTest, AListenerThatThrowsLosesNoOutcome) {
  say("hello", 2);
  Generator generator(model, pieces);
  auto request = request_for({10, 11}, 5);
  std::string shown;
  request.on_text = [&, failed = false](std::string_view piece) mutable {
    shown += piece;
    if (piece == "o" && !std::exchange(failed, true)) throw std::runtime_error("no more room");
  };
  generator.submit(request);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(generator.step().empty());
  EXPECT_THROW(generator.step(), std::runtime_error);
  EXPECT_FALSE(generator.idle());
  const auto ended = generator.step();
  ASSERT_EQ(ended.size(), 1u);
  EXPECT_EQ(ended[0].result->text, "hello");
  EXPECT_EQ(shown, "hello");
}

// Rows are sampled by several threads: as many of them, the same texts.
TEST_F(GeneratorTest, SamplesTheSameWithAnyNumberOfThreads) {
  std::vector<std::vector<int32_t>> first;
  for (const int64_t threads : {1, 2, 5}) {
    FakeLanguageModel fresh{FakeLanguageModel::Sizes()};
    GeneratorOptions options;
    options.sampling_threads = threads;
    Generator generator(fresh, pieces, options);
    auto requests = alike(30, 4, 6);
    for (auto& request : requests) request.sampling.temperature = 1.0;
    std::vector<std::vector<int32_t>> texts;
    for (const auto& outcome : generator.run(requests)) texts.push_back(outcome.result->token_ids);
    if (first.empty()) first = texts;
    EXPECT_EQ(texts, first);
  }
}

}  // namespace
}  // namespace backlot
