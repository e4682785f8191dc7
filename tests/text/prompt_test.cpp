#include "text/prompt.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

namespace backlot {
namespace {

using Ids = std::vector<int64_t>;

const ClipTokenizer& tokenizer() {
  static const auto loaded =
      ClipTokenizer::load(std::filesystem::path(BACKLOT_SOURCE_DIR) / "models/clip-tokenizer");
  return loaded;
}

// `count` words of one token each: "cat cat cat …"
std::string cats(size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) text += i ? " cat" : "cat";
  return text;
}

// What a chunk holds between bos and the first eos.
std::string text_of(const Ids& chunk) {
  const auto eos = std::find(chunk.begin(), chunk.end(), tokenizer().eos());
  return tokenizer().decode(Ids(chunk.begin() + 1, eos));
}

TEST(ChunkPrompt, PadsOneChunkToTheFullLength) {
  const auto chunks = chunk_prompt(tokenizer(), "a red apple", false, false);
  ASSERT_EQ(chunks.ids.size(), 1u);
  Ids expected{49406, 320, 736, 3055, 49407};
  expected.resize(77, 49407);
  EXPECT_EQ(chunks.ids[0], expected);
  EXPECT_EQ(chunks.weights, std::vector<std::vector<float>>{std::vector<float>(77, 1.0f)});
  EXPECT_EQ(chunks.truncated, "");
  EXPECT_FALSE(chunks.weighted);
}

TEST(ChunkPrompt, PadsWithThePadTokenOfTheFolder) {
  const auto other =
      ClipTokenizer::load(std::filesystem::path(BACKLOT_TEST_DATA) / "tokenizers/clip2");
  const auto chunks = chunk_prompt(other, "", false, false);
  Ids expected(77, 0);
  expected[0] = other.bos();
  expected[1] = other.eos();
  EXPECT_EQ(chunks.ids, std::vector<Ids>{expected});
}

TEST(ChunkPrompt, CutsWhatDoesNotFitAndSaysWhat) {
  EXPECT_EQ(chunk_prompt(tokenizer(), cats(75), false, false).truncated, "");
  const auto chunks = chunk_prompt(tokenizer(), cats(75) + " red Apple!", false, false);
  ASSERT_EQ(chunks.ids.size(), 1u);
  EXPECT_EQ(chunks.ids[0].back(), tokenizer().eos());
  EXPECT_EQ(text_of(chunks.ids[0]), cats(75));
  EXPECT_EQ(chunks.truncated, "red apple !");
}

TEST(ChunkPrompt, KeepsTheWholeOfALongPrompt) {
  const auto chunks = chunk_prompt(tokenizer(), cats(75) + " red", true, false);
  ASSERT_EQ(chunks.ids.size(), 2u);
  EXPECT_EQ(text_of(chunks.ids[0]), cats(75));
  EXPECT_EQ(text_of(chunks.ids[1]), "red");
  EXPECT_EQ(chunks.truncated, "");
  for (const auto& ids : chunks.ids) EXPECT_EQ(ids.size(), 77u);
  EXPECT_EQ(chunk_prompt(tokenizer(), cats(75), true, false).ids.size(), 1u);
}

TEST(ChunkPrompt, BreaksLongPromptsAtANearComma) {
  const auto near = chunk_prompt(tokenizer(), cats(55) + ", " + cats(19) + " red", true, false);
  ASSERT_EQ(near.ids.size(), 2u);
  EXPECT_EQ(text_of(near.ids[0]), cats(55) + " ,");
  EXPECT_EQ(text_of(near.ids[1]), cats(19) + " red");

  const auto far = chunk_prompt(tokenizer(), cats(54) + ", " + cats(20) + " red", true, false);
  ASSERT_EQ(far.ids.size(), 2u);
  EXPECT_EQ(text_of(far.ids[1]), "red");

  const auto comma = chunk_prompt(tokenizer(), cats(60) + ", " + cats(14) + ", red", true, false);
  ASSERT_EQ(comma.ids.size(), 2u);
  EXPECT_EQ(text_of(comma.ids[1]), ", red");
}

TEST(ChunkPrompt, StartsAChunkAtBreak) {
  const auto chunks = chunk_prompt(tokenizer(), "a cat BREAK a dog", true, false);
  ASSERT_EQ(chunks.ids.size(), 2u);
  EXPECT_EQ(text_of(chunks.ids[0]), "a cat");
  EXPECT_EQ(text_of(chunks.ids[1]), "a dog");
  EXPECT_EQ(chunk_prompt(tokenizer(), "BREAKFAST, a break", true, false).ids.size(), 1u);
  EXPECT_EQ(text_of(chunk_prompt(tokenizer(), "a BREAK b", false, true).ids[0]), "a break b");
}

TEST(ChunkPrompt, GivesEachTokenItsWeight) {
  const auto chunks = chunk_prompt(tokenizer(), "a (red apple:1.5) [pear]", false, true);
  EXPECT_TRUE(chunks.weighted);
  EXPECT_EQ(text_of(chunks.ids[0]), "a red apple pear");
  const auto& weights = chunks.weights[0];
  EXPECT_EQ(std::vector<float>(weights.begin(), weights.begin() + 6),
            (std::vector<float>{1, 1, 1.5f, 1.5f, static_cast<float>(1 / 1.1), 1}));
}

TEST(ChunkPrompt, TakesBracketsAsTextUnlessAsked) {
  const auto plain = chunk_prompt(tokenizer(), "a (red:1.5) apple", false, false);
  EXPECT_FALSE(plain.weighted);
  EXPECT_EQ(text_of(plain.ids[0]), "a ( red : 1 . 5 ) apple");
  const auto escaped = chunk_prompt(tokenizer(), R"(a \(red\) apple)", false, true);
  EXPECT_FALSE(escaped.weighted);
  EXPECT_EQ(text_of(escaped.ids[0]), "a ( red ) apple");
}

TEST(ChunkPrompt, MovesWeightsWithTheirTokens) {
  const auto chunks =
      chunk_prompt(tokenizer(), cats(60) + ", (" + cats(15) + ":2) BREAK (red:3)", true, true);
  ASSERT_EQ(chunks.weights.size(), 3u);
  EXPECT_EQ(chunks.weights[0], std::vector<float>(77, 1.0f));
  EXPECT_EQ(std::count(chunks.weights[1].begin(), chunks.weights[1].end(), 2.0f), 15);
  EXPECT_EQ(chunks.weights[2][1], 3.0f);
}

}  // namespace
}  // namespace backlot
