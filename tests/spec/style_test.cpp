#include "spec/style.h"

#include <gtest/gtest.h>

#include "spec_world.h"

namespace backlot {
namespace {

const fs::path source = BACKLOT_SOURCE_DIR;

const std::string minimal = "system: Rewrite.\n";

Style read(const std::string& text) {
  Sources sources;
  const uint32_t source = sources.add("s.yaml");
  return read_style(text, "s", source, sources);
}

std::string error(const std::string& text) {
  try {
    read(text);
    return "";
  } catch (const SpecError& error) {
    return error.what();
  }
}

Style load(const std::string& written, const fs::path& folder = "/nowhere") {
  Sources sources;
  const Mark mark{sources.add("spec.yaml"), 3, 9};
  return load_style(written, mark, folder, sources);
}

TEST(Styles, ShippedOnesAreSoundAndKeepTheirOwnLimits) {
  ASSERT_GE(shipped_styles().size(), 10u);
  for (const auto& [name, text] : shipped_styles()) {
    EXPECT_EQ(std::string(text),
              read_file(source / "jobspecs/styles" / (std::string(name) + ".yaml")));
    const Style style = load(std::string(name));
    EXPECT_EQ(style.name, name);
    EXPECT_FALSE(style.description.empty()) << name;
    EXPECT_FALSE(style.system.empty()) << name;
    EXPECT_GE(style.examples.size(), 2u) << name;
    EXPECT_GT(style.sampling.temperature, 0) << name;  // variants and retries need it
  }
  for (const char* name : {"image-fast", "image-high", "video-fast", "video-high", "cinematic"})
    EXPECT_NO_THROW(load(name)) << name;
}

TEST(Styles, AreReadWhole) {
  const Style style = read(R"(description: short
system: |
  Rewrite.
request: "Prompt: {prompt}"
examples:
  - {user: a pear, assistant: A yellow pear}
limits: {min_words: 4, max_words: 9, encoder: umt5, max_tokens: 512}
sampling: {max_tokens: 50, temperature: 0, top_k: 5, top_p: 0.5, min_p: 0.1, repetition_penalty: 1.2}
retries: 0
)");
  EXPECT_EQ(style.name, "s");
  EXPECT_EQ(style.system, "Rewrite.");
  EXPECT_EQ(style.request, "Prompt: {prompt}");
  ASSERT_EQ(style.examples.size(), 1u);
  EXPECT_EQ(style.examples[0].assistant, "A yellow pear");
  EXPECT_EQ(style.limits.min_words, 4);
  EXPECT_EQ(style.limits.max_words, 9);
  EXPECT_EQ(style.limits.encoder, TextEncoder::umt5);
  EXPECT_EQ(style.limits.max_tokens, 512);
  const TextSampling sampling{.max_tokens = 50,
                              .temperature = 0,
                              .top_k = 5,
                              .top_p = 0.5,
                              .min_p = 0.1,
                              .repetition_penalty = 1.2};
  EXPECT_EQ(style.sampling, sampling);
  EXPECT_EQ(style.retries, 0);
}

TEST(Styles, HashIsOfWhatDecidesATextButSampling) {
  const std::string hash = read(minimal).sha256;
  EXPECT_EQ(hash.size(), 64u);
  EXPECT_EQ(
      read("# remark\ndescription: d\n" + minimal + "retries: 9\nsampling: {top_k: 4}\n").sha256,
      hash);
  EXPECT_NE(read("system: Rewrite!\n").sha256, hash);
  EXPECT_NE(read(minimal + "request: \"> {prompt}\"\n").sha256, hash);
  EXPECT_NE(read(minimal + "limits: {max_words: 61}\n").sha256, hash);
  EXPECT_NE(read(minimal + "examples: [{user: a, assistant: b}]\n").sha256, hash);
}

TEST(Styles, MistakesHaveTheirPlaceAndAMend) {
  EXPECT_EQ(error(minimal + "sytem: x\n"), "s.yaml:2:1: unknown key sytem; did you mean system?");
  EXPECT_EQ(error(minimal + "limits: {max_word: 3}\n"),
            "s.yaml:2:10: unknown key max_word; did you mean max_words?");
  EXPECT_EQ(error(minimal + "sampling: {temprature: 1}\n"),
            "s.yaml:2:12: unknown key temprature; did you mean temperature?");
  EXPECT_EQ(error(minimal + "sampling: {top_p: 1.5}\n"),
            "s.yaml:2:19: top_p is 1.5; give a number from 0 to 1");
  EXPECT_EQ(error(minimal + "limits: {encoder: clop}\n"),
            "s.yaml:2:19: unknown encoder clop; did you mean clip?");
  EXPECT_EQ(error(minimal + "limits: {min_words: 70}\n"),
            "s.yaml:2:9: min_words is 70, above max_words, which is 60; correct one of them");
  EXPECT_EQ(error(minimal + "limits: {min_words: 0}\n"),
            "s.yaml:2:21: min_words is not a whole number from 1 to 10000; correct it");
  EXPECT_EQ(error(minimal + "request: no place\n"),
            "s.yaml:2:10: request does not hold {prompt} once; write it as `Expand: {prompt}`");
  EXPECT_EQ(error(minimal + "examples: [{user: a}]\n"),
            "s.yaml:2:12: an example has both user and assistant; add the other one");
  EXPECT_EQ(error("description: d\n"),
            "s.yaml:1:1: the style says nothing; give it `system:` or `examples:`");
  EXPECT_EQ(error("- a\n"),
            "s.yaml:1:1: a style is a mapping, not a list; it has description, system, request, "
            "examples, limits, sampling, retries");
}

TEST(Styles, AreFoundBesideTheSpecBeforeTheShippedOnes) {
  const SpecWorld world;
  EXPECT_NE(load("anime", world.folder()).system, "Rewrite.");
  world.write("styles/anime.yaml", minimal);
  EXPECT_EQ(load("anime", world.folder()).system, "Rewrite.");
  world.write("anime.yaml", "system: Nearer.\n");
  EXPECT_EQ(load("anime", world.folder()).system, "Nearer.");
  EXPECT_EQ(load("styles/anime.yaml", world.folder()).system, "Rewrite.");
  EXPECT_EQ(load("./anime.yaml", world.folder()).name, "anime");
}

TEST(Styles, UnknownOnesNameTheNearest) {
  try {
    load("cinematc");
    FAIL();
  } catch (const SpecError& error) {
    EXPECT_STREQ(error.what(), "spec.yaml:3:9: unknown style cinematc; did you mean cinematic?");
  }
  EXPECT_THROW(load("none/at-all.yaml"), SpecError);
}

}  // namespace
}  // namespace backlot
