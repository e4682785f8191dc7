#include "enhance/enhancer.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "enhance/chat.h"

namespace backlot {
namespace {

Style style() {
  Style out;
  out.name = "test";
  out.system = "You rewrite prompts.";
  out.request = "Rewrite: {prompt}";
  out.examples = {{"a pear", "A yellow pear in a bowl"}};
  out.limits.min_words = 5;
  out.limits.max_words = 30;
  out.sha256 = "style";
  return out;
}

// Answers by the prompt and the number of the try; remembers what it was asked.
class FakeMaker : public TextMaker {
 public:
  using Answer = std::function<MadeText(const std::string& prompt, uint64_t seed, int64_t round)>;
  explicit FakeMaker(Answer answer) : answer_(std::move(answer)) {}

  void make(std::span<const TextRequest> requests,
            const std::function<void(size_t, MadeText)>& made) override {
    rounds.push_back(std::ssize(requests));
    // In reverse: nobody may count on an order.
    for (size_t i = requests.size(); i-- > 0;) {
      seeds.push_back(requests[i].seed);
      const std::string user = requests[i].messages.back()["content"];
      made(i, answer_(user.substr(std::string("Rewrite: ").size()), requests[i].seed,
                      std::ssize(rounds)));
    }
  }

  std::vector<int64_t> rounds;  // requests of each
  std::vector<uint64_t> seeds;

 private:
  Answer answer_;
};

MadeText text(std::string text) {
  return {.text = std::move(text),
          .finish_reason = "stop",
          .prompt_tokens = 40,
          .tokens = 12,
          .error = ""};
}

std::string rich(const std::string& prompt) {
  return prompt + " in the soft light of an early morning";
}

std::vector<EnhanceRequest> requests(const Style& style, std::vector<std::string> prompts) {
  std::vector<EnhanceRequest> out;
  for (auto& prompt : prompts)
    out.push_back({.prompt = std::move(prompt),
                   .style = &style,
                   .sampling = {},
                   .retries = 2,
                   .seed = 7 + out.size()});
  return out;
}

TEST(Chat, HoldsSystemExamplesAndThePrompt) {
  EXPECT_EQ(chat_for(style(), "a {prompt} \"x\""),
            Json::parse(R"([{"role": "system", "content": "You rewrite prompts."},
                            {"role": "user", "content": "Rewrite: a pear"},
                            {"role": "assistant", "content": "A yellow pear in a bowl"},
                            {"role": "user", "content": "Rewrite: a {prompt} \"x\""}])"));
}

TEST(Enhancing, GoodTextsTakeOneRound) {
  const Style used = style();
  FakeMaker maker([](const auto& prompt, auto, auto) { return text(rich(prompt)); });
  const auto results = Enhancer(maker).enhance(requests(used, {"a fox", "a hen", "a cow"}));
  EXPECT_EQ(maker.rounds, (std::vector<int64_t>{3}));
  ASSERT_EQ(results.size(), 3u);
  EXPECT_EQ(results[1].text, rich("a hen"));
  EXPECT_EQ(results[1].tries, 1);
  EXPECT_EQ(results[1].seed, 8u);
  EXPECT_EQ(results[1].tokens, 12);
  EXPECT_FALSE(results[1].fell_back);
  EXPECT_EQ(results[1].note, "");
}

TEST(Enhancing, OnlyWhatWasRefusedIsTriedAgainWithOtherSeeds) {
  const Style used = style();
  FakeMaker maker([](const auto& prompt, auto, int64_t round) {
    return text(prompt == "a hen" && round < 3 ? "Sorry." : rich(prompt));
  });
  std::vector<std::pair<size_t, std::string>> finished;
  const auto results = Enhancer(maker).enhance(
      requests(used, {"a fox", "a hen"}),
      [&](size_t i, const EnhancedText& result) { finished.emplace_back(i, result.text); });
  EXPECT_EQ(maker.rounds, (std::vector<int64_t>{2, 1, 1}));
  EXPECT_EQ(results[1].tries, 3);
  EXPECT_EQ(results[1].seed, seed_of_try(8, 3));
  EXPECT_EQ(finished,
            (std::vector<std::pair<size_t, std::string>>{{0, rich("a fox")}, {1, rich("a hen")}}));
  std::ranges::sort(maker.seeds);
  EXPECT_EQ(std::ranges::unique(maker.seeds).size(), 0u);
}

TEST(Enhancing, FallsBackToThePromptWithANote) {
  const Style used = style();
  FakeMaker maker([](const auto&, auto, auto) { return text("Sorry."); });
  const auto results = Enhancer(maker).enhance(requests(used, {"a fox"}));
  EXPECT_EQ(results[0].text, "a fox");
  EXPECT_TRUE(results[0].fell_back);
  EXPECT_EQ(results[0].tries, 3);
  EXPECT_EQ(results[0].note,
            "the prompt is kept: after 3 tries the text is too short: 1 words of at least 5");
}

TEST(Enhancing, VariantsDiffer) {
  const Style used = style();
  FakeMaker maker([](const auto& prompt, uint64_t, int64_t round) {
    return text(rich(prompt) + (round == 1 ? "" : " of spring"));
  });
  auto results = Enhancer(maker).enhance(requests(used, {"a fox", "a fox"}));
  EXPECT_EQ(maker.rounds, (std::vector<int64_t>{2, 1}));
  EXPECT_NE(results[0].text, results[1].text);
  EXPECT_EQ(results[0].note + results[1].note, "");
}

TEST(Enhancing, DiffersFromTextsOfAnEarlierRun) {
  const Style used = style();
  FakeMaker maker([](const auto& prompt, uint64_t, int64_t round) {
    return text(rich(prompt) + (round == 1 ? "" : " of spring"));
  });
  Enhancer enhancer(maker);
  enhancer.avoid("a fox", used, rich("a fox"));
  EXPECT_EQ(enhancer.enhance(requests(used, {"a fox"}))[0].text, rich("a fox") + " of spring");
}

TEST(Enhancing, AVariantThatCannotDifferIsKeptWithANote) {
  const Style used = style();
  FakeMaker maker([](const auto& prompt, auto, auto) { return text(rich(prompt)); });
  const auto results = Enhancer(maker).enhance(requests(used, {"a fox", "a fox"}));
  EXPECT_EQ(results[0].text, rich("a fox"));
  EXPECT_EQ(results[1].text, rich("a fox"));
  EXPECT_EQ(results[0].note + results[1].note, "equals another variant's text");
  EXPECT_FALSE(results[0].fell_back || results[1].fell_back);
}

TEST(Enhancing, GreedyDecodingIsTriedOnce) {
  const Style used = style();
  FakeMaker maker([](const auto&, auto, auto) { return text("Sorry."); });
  auto asked = requests(used, {"a fox"});
  asked[0].sampling.temperature = 0;
  const auto results = Enhancer(maker).enhance(asked);
  EXPECT_EQ(maker.rounds, (std::vector<int64_t>{1}));
  EXPECT_EQ(results[0].note,
            "the prompt is kept: after 1 try the text is too short: 1 words of at least 5");
}

TEST(Enhancing, WhatNoSeedHelpsIsNotTriedAgain) {
  const Style used = style();
  FakeMaker maker([](const auto&, auto, auto) {
    MadeText made;
    made.error = "it is longer than the model's context";
    return made;
  });
  const auto results = Enhancer(maker).enhance(requests(used, {"a fox", "  "}));
  EXPECT_EQ(maker.rounds, (std::vector<int64_t>{1}));
  EXPECT_EQ(results[0].note, "the prompt is kept: it is longer than the model's context");
  EXPECT_EQ(results[1].text, "  ");
  EXPECT_EQ(results[1].note, "the prompt is empty");
  EXPECT_EQ(results[1].tries, 0);
}

TEST(Enhancing, ACutOffTextEndsWithASentence) {
  const Style used = style();
  FakeMaker maker([](const auto& prompt, auto, auto) {
    MadeText made = text(rich(prompt) + ". And then it");
    made.finish_reason = "length";
    return made;
  });
  EXPECT_EQ(Enhancer(maker).enhance(requests(used, {"a fox"}))[0].text, rich("a fox") + ".");
}

TEST(Enhancing, AnInterruptionLeavesWhatIsFinishedFinished) {
  const Style used = style();
  FakeMaker maker([](const auto& prompt, auto, auto) -> MadeText {
    if (prompt == "a fox") throw Interrupted();
    return text(rich(prompt));
  });
  std::vector<size_t> finished;
  Enhancer enhancer(maker);
  const auto asked = requests(used, {"a fox", "a hen"});
  EXPECT_THROW(enhancer.enhance(asked, [&](size_t i, const auto&) { finished.push_back(i); }),
               Interrupted);
  EXPECT_EQ(finished, std::vector<size_t>{1});
}

}  // namespace
}  // namespace backlot
