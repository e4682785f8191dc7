#include "enhance/check.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "base/utf8.h"
#include "enhance/words.h"

namespace backlot {
namespace {

const std::string good =
    "A red apple on a rough oak table, morning light from the left, tiny drops of water on its "
    "skin, dark green background";

TextLimits limits(int64_t least = 10, int64_t most = 60) {
  TextLimits out;
  out.min_words = least;
  out.max_words = most;
  return out;
}

// Words stand for tokens, so that a test can be read.
int64_t words(std::string_view text) { return count_words(decode_utf8(text)); }

Verdict check(const std::string& made, const std::string& prompt = "a red apple",
              const TextLimits& limit = limits(), bool cut_off = false) {
  return check_text(made, prompt, limit, words, cut_off);
}

TEST(Mending, LeavesAGoodTextAlone) {
  EXPECT_EQ(check(good).text, good);
  EXPECT_EQ(check(good).reason, "");
}

TEST(Mending, TakesAwayWhatModelsPutAroundAText) {
  for (const std::string& made : {"Sure! Here is an enhanced prompt for you:\n\n" + good,
                                  "Here's the prompt: " + good,
                                  "Certainly! " + good,
                                  "Prompt: " + good,
                                  "**Enhanced Prompt:** " + good,
                                  "Enhanced image prompt: \"" + good + "\"",
                                  "\"" + good + "\"",
                                  "“" + good + "”",
                                  "'" + good + "'",
                                  "```\n" + good + "\n```",
                                  "## Image Prompt\n\n" + good,
                                  "*" + good + "*",
                                  "- " + good,
                                  "1. " + good,
                                  good + "\n\nLet me know if you need more!",
                                  "\"" + good + "\" This prompt describes the apple in detail.",
                                  "<think>The user wants an apple.\n\nHmm.</think>\n\n" + good,
                                  "<|im_start|>assistant\n" + good + "<|im_end|>",
                                  good + "<|im_end|>\n<|im_start|>user\nMore",
                                  good + "</s>",
                                  "[INST] " + good,
                                  "\n\n  " + good + " \n",
                                  "Okay, " + good,
                                  "Assistant: " + good,
                                  "\x1b[31m" + good + "\x1b[0m",
                                  "\x1b]0;title\x07" + good,
                                  "\xEF\xBB\xBF" + good,
                                  "\xE2\x80\xAE" + good,
                                  good + "\xE2\x80"})
    EXPECT_EQ(check(made).text, good) << printable(made) << ": " << check(made).reason;
}

TEST(Mending, KnowsLabelsOfOtherLanguages) {
  const std::string german =
      "Ein roter Apfel liegt auf einem alten Holztisch, das Licht der Morgensonne fällt von links";
  EXPECT_EQ(check("Gerne! Hier ist der verbesserte Prompt: " + german, "ein roter Apfel").text,
            german);
  const std::string chinese =
      "一个红苹果放在旧木桌上，晨光从左边照来，果皮上挂着水珠，背景是深绿色";
  EXPECT_EQ(check("提示词：" + chinese, "一个红苹果").text, chinese);
  EXPECT_EQ(check("好的！以下是改写：" + chinese, "一个红苹果").text, chinese);
  EXPECT_EQ(check("“" + chinese + "”", "一个红苹果").text, chinese);
}

TEST(Mending, KeepsWhatBelongsToTheText) {
  for (const std::string& text :
       {std::string("A red apple beside a sign that says \"OPEN\", morning light, drops of water, "
                    "dark green background, fine detail"),
        std::string("Here and there a red apple hangs in the tree, ripe in the evening light, with "
                    "long shadows below the branches"),
        std::string("A red apple photographed at f/2.8 with an 85mm lens, 3.5 inches wide, on a "
                    "table of dark oak beside a window"),
        std::string("A farmer's red apple rolls over the wet floor of the market hall, the "
                    "camera's view is low, people's feet pass")})
    EXPECT_EQ(check(text).text, text) << check(text).reason;
}

TEST(Mending, EndsAtTheLastWholeSentenceOfATextThatWasCutOff) {
  const std::string first = "A red apple lies on a rough oak table in the morning light.";
  EXPECT_EQ(check(first + " Behind it a window with", "a red apple", limits(), true).text, first);
  EXPECT_EQ(check(good + ", and the wi", "a red apple", limits(), true).text, good);
  EXPECT_EQ(check("A red apple that lies on", "a red apple", limits(3), true).reason,
            "has no end within its tokens");
}

TEST(Mending, EndsWhereASmallModelBeginsToGoRoundInCircles) {
  EXPECT_EQ(check("The wind howls through the waves, a lone lighthouse on a stormy night, a lone "
                  "figure lost in the dark, a silhouette against the sky, a lone figure lost in "
                  "the sea, a lone figure lost in the sea, a lone figure lost in the",
                  "a lighthouse in a storm", limits(), true)
                .text,
            "The wind howls through the waves, a lone lighthouse on a stormy night, a lone figure "
            "lost in the dark, a silhouette against the sky");
}

TEST(Limits, CutsAtSentencesThenCommasThenWords) {
  const std::string sentences =
      "A red apple lies on a rough oak table in the morning light. Behind it stands a blue jug.";
  EXPECT_EQ(check(sentences, "a red apple", limits(10, 15)).text,
            "A red apple lies on a rough oak table in the morning light.");
  EXPECT_EQ(check(good, "a red apple", limits(10, 16)).text,
            "A red apple on a rough oak table, morning light from the left");
  EXPECT_EQ(check("A red apple on a rough oak table with a jug of the milk beside it all",
                  "a red apple", limits(5, 11))
                .text,
            "A red apple on a rough oak table with a jug");
  EXPECT_EQ(check("A red apple on a rough oak table with a jug of the milk beside it all",
                  "a red apple", limits(5, 10))
                .text,
            "A red apple on a rough oak table");
}

TEST(Limits, CountsTheTokensOfTheTargetsEncoder) {
  const auto clip = token_counter(TextEncoder::clip);
  EXPECT_EQ(clip("a photo of a cat"), 7);  // <|startoftext|> a photo of a cat <|endoftext|>
  std::string text = "A red apple";
  for (int i = 0; i < 40; ++i) text += ", shape number " + std::to_string(i);
  const Verdict verdict = check_text(text, "a red apple", limits(10, 500), clip, false);
  EXPECT_TRUE(verdict.good()) << verdict.reason;
  EXPECT_LE(clip(verdict.text), 77);
  EXPECT_GT(clip(verdict.text), 60);
  EXPECT_EQ(text.find(verdict.text), 0u);
}

TEST(Limits, EstimatesUmt5OnTheSafeSide) {
  const auto umt5 = token_counter(TextEncoder::umt5);
  // What UMT5's own tokenizer gives: 8 and 14, with </s>.
  EXPECT_GE(umt5("a photo of a cat on a mat"), 9);
  EXPECT_GE(umt5("一个红苹果放在旧木桌上"), 8);
  EXPECT_LT(umt5("a photo of a cat on a mat"), 20);
}

TEST(Limits, CountsUmt5ExactlyWhereItsTokenizerIsThere) {
  const auto umt5 = token_counter(
      TextEncoder::umt5, std::string(BACKLOT_TEST_DATA) + "/oracles/wan-t2v/model/tokenizer");
  // As the reference records for this text of case wan-t2v: 57 ids, </s> among them.
  EXPECT_EQ(umt5(""), 1);
  EXPECT_EQ(
      umt5("a red fox jumping over a frozen river, golden hour, 35mm photo &amp; snow “quotes”"),
      57);
}

TEST(Refusals, SayWhy) {
  const auto reason = [](const std::string& made, const std::string& prompt = "a red apple") {
    return check(made, prompt).reason;
  };
  EXPECT_EQ(reason(""), "is empty");
  EXPECT_EQ(reason(" \n\n "), "is empty");
  EXPECT_EQ(reason("A red apple."), "is too short: 3 words of at least 10");
  EXPECT_EQ(reason("- A red apple\n- A green table\n- Morning light"), "is a list");
  EXPECT_EQ(reason("1. A red apple on a table\n2. A jug beside it"), "is a list");
  EXPECT_EQ(reason("A red apple.\n\nA table in the morning light.\n\nA jug of milk."),
            "has several paragraphs");
  EXPECT_EQ(reason("I'm sorry, but I can't help with a red apple because it is not allowed here."),
            "is a refusal");
  EXPECT_EQ(reason("As an AI language model I have never seen a red apple on any table myself."),
            "is a refusal");
  EXPECT_EQ(reason("A red apple is the subject of your prompt and should be described in detail."),
            "talks about the task");
  EXPECT_EQ(reason("<think>A red apple, so I need to think about the light and the table"),
            "ends while the model still thinks");
  EXPECT_EQ(reason("A green pear on a rough oak table, morning light, dark background, a jug"),
            "loses the prompt's subject");
  EXPECT_EQ(reason("A red apple, a lone figure, a lone figure, a lone figure, a lone figure, a "
                   "lone figure, a lone figure, a lone figure in the light"),
            "repeats itself");
  EXPECT_EQ(reason("A red apple red red red apple on the table in the morning light of spring"),
            "repeats itself");
  EXPECT_EQ(reason("Une pomme rouge, un red apple, est sur la table dans la cuisine avec des "
                   "gouttes d'eau et une lumière du matin",
                   "a red apple on the table and in the kitchen"),
            "is in another language");
}

TEST(Refusals, ThePromptItselfAddsNothing) {
  const std::string prompt = "a red apple on a rough oak table, morning light from the left side";
  EXPECT_EQ(
      check("A red apple on a rough oak table; morning light from the left side.", prompt).reason,
      "is the prompt itself");
}

TEST(Refusals, WordsOfThePromptAreNoChatter) {
  const std::string text =
      "A theatre prompt book lies open on a desk, the prompt written in red ink, light of a lamp, "
      "dust in the air";
  EXPECT_EQ(check(text, "a prompt book in a theatre, the prompt in red ink").text, text);
}

TEST(AnyBytes, AreJudgedWithoutHarm) {
  uint64_t state = 1;
  const std::vector<std::string> parts = {
      "\x1b[", "\x1b]", "<|",     "|>",   "<think>", "</think>", "\"",   "“",        "a red apple ",
      "\n",    "\n\n",  "- ",     ":",    "。",      "苹果",     "\xff", "\xe2\x80", "**",
      "Sure",  "! ",    "Prompt", "\x9b", ". ",      ", ",       "'",    "`"};
  for (int round = 0; round < 2000; ++round) {
    std::string made;
    for (int i = 0; i < 12; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      made += parts[(state >> 33) % parts.size()];
    }
    const Verdict verdict = check(made, "a red apple", limits(1, 8), round % 2 == 0);
    EXPECT_TRUE(is_utf8(verdict.text));
    EXPECT_EQ(printable(verdict.text), verdict.text) << printable(made);
    EXPECT_EQ(verdict.good(), !verdict.text.empty()) << printable(made);
  }
}

}  // namespace
}  // namespace backlot
