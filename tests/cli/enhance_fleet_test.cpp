// Specs with an enhance stage, as a user runs them: with the oracles' tiny language model, whose
// texts are gibberish, so that prompts are kept in the end.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "media/picture_io.h"
#include "support/command.h"
#include "support/run_dir.h"
#include "support/temporary_folder.h"
#include "support/tiny_runs.h"

namespace backlot {
namespace {

using namespace std::chrono_literals;

const std::string oracles = std::string(BACKLOT_TEST_DATA) + "/oracles/";

const std::vector<std::string> on_cpu{"--device", "cpu", "--dtype", "float32", "--threads", "1"};

std::vector<std::string> generate(std::vector<std::string> more = {}) {
  std::vector<std::string> words{"generate", "run.yaml"};
  words.insert(words.end(), on_cpu.begin(), on_cpu.end());
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

std::vector<std::string> fleet(std::vector<std::string> more = {}) {
  std::vector<std::string> words{"fleet-run", "run.yaml",  "--devices", "cpu,cpu",    "--dtype",
                                 "float32",   "--threads", "1",         "--progress", "plain"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST(EnhanceStage, TextsOnlyLeavesPicturesForLater) {
  TemporaryFolder work;
  write_enhanced_spec(work / "run.yaml", 3);
  const auto texts = backlot(generate({"--texts-only", "--json"}), {.folder = work.path()});
  ASSERT_EQ(texts.exit_code, 0) << texts.err;
  const Json said = Json::parse(texts.out);
  EXPECT_EQ(said["texts"], 3);
  EXPECT_EQ(said["made"], 3);
  const fs::path run = work / "out" / "run";
  const Json manifest = read_manifest(run);
  EXPECT_EQ(manifest["totals"]["pending"], 3);
  for (const auto& item : manifest["items"]) {
    EXPECT_GT(item["enhancement"]["tokens"], 0) << item;
    EXPECT_EQ(item["prompt"].get<std::string>().substr(0, 10), "fox number");
  }
  EXPECT_EQ(files_in(run / "images"), 0u);
  const auto again = backlot(generate({"--texts-only", "--json"}), {.folder = work.path()});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(Json::parse(again.out)["made"], 0);
  EXPECT_EQ(Json::parse(again.out)["reused"], 3);
  const auto pictures = backlot(generate(), {.folder = work.path()});
  ASSERT_EQ(pictures.exit_code, 0) << pictures.err;
  expect_complete(run, 3);
  expect_texts_once(run, 3);
}

TEST(EnhanceStage, TextsOnlyWantsAStage) {
  TemporaryFolder work;
  write_tiny_spec(work / "run.yaml", 1);
  const auto result = backlot(generate({"--texts-only"}), {.folder = work.path()});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.err.find("run.yaml: has no enhance stage"), std::string::npos) << result.err;
  EXPECT_FALSE(fs::exists(work / "out"));
}

TEST(EnhanceStage, AFleetHasItsTextsMadeByAProcessOfTheirOwn) {
  TemporaryFolder work;
  write_enhanced_spec(work / "run.yaml", 3);
  ASSERT_EQ(backlot(generate({"-o", "alone", "-q", "--batch-size", "1"}), {.folder = work.path()})
                .exit_code,
            0);
  const auto result = backlot(fleet({"-o", "fleet", "--batch-size", "1"}), {.folder = work.path()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "fleet\n");
  EXPECT_NE(result.err.find("3 prompt(s) enhanced"), std::string::npos) << result.err;
  expect_complete(work / "fleet", 3);
  expect_texts_once(work / "fleet", 3);
  for (const auto& entry : fs::directory_iterator(work / "alone" / "images"))
    EXPECT_EQ(read_file(entry.path()),
              read_file(work / "fleet" / "images" / entry.path().filename()));
  // Another prompt: only its text is made.
  write_enhanced_spec(work / "run.yaml", 4);
  const auto more = backlot(fleet({"-o", "fleet"}), {.folder = work.path()});
  ASSERT_EQ(more.exit_code, 0) << more.err;
  EXPECT_NE(more.err.find("1 prompt(s) enhanced"), std::string::npos) << more.err;
  expect_complete(work / "fleet", 4);
  expect_texts_once(work / "fleet", 4);
}

TEST(EnhanceStage, WhatIsRenderedIsTheText) {
  TemporaryFolder work;
  write_enhanced_spec(work / "run.yaml", 2);
  for (const char* folder : {"alone", "fleet"}) {
    const auto texts = backlot(generate({"--texts-only", "-o", folder}), {.folder = work.path()});
    ASSERT_EQ(texts.exit_code, 0) << texts.err;
    replace_texts(work / folder, "a blue fox");
  }
  ASSERT_EQ(
      backlot(generate({"-o", "alone", "--batch-size", "1"}), {.folder = work.path()}).exit_code,
      0);
  ASSERT_EQ(backlot(fleet({"-o", "fleet", "--batch-size", "1"}), {.folder = work.path()}).exit_code,
            0);
  EXPECT_EQ(read_manifest(work / "fleet")["items"][1]["enhanced_prompt"], "a blue fox 1");
  const auto again = backlot({"generate",
                              "--prompt",
                              "a blue fox 1",
                              "--seed",
                              "3",
                              "--width",
                              "32",
                              "--height",
                              "32",
                              "--steps",
                              "2",
                              "--model",
                              oracles + "sdxl-base/model",
                              "--device",
                              "cpu",
                              "--dtype",
                              "float32",
                              "--threads",
                              "1",
                              "-o",
                              "plain",
                              "--no-metadata"},
                             {.folder = work.path()});
  ASSERT_EQ(again.exit_code, 0) << again.err;
  const auto pixels = [&](const char* folder, size_t item) {
    const std::string output = read_manifest(work / folder)["items"][item]["output"];
    return decode_picture(work / folder / output).picture.rgb;
  };
  EXPECT_EQ(pixels("alone", 1), pixels("plain", 0));
  EXPECT_EQ(pixels("fleet", 1), pixels("plain", 0));
  EXPECT_NE(pixels("fleet", 0), pixels("plain", 0));
}

TEST(EnhanceStage, AFleetEndsAsTheProcessThatMakesItsTextsDoes) {
  TemporaryFolder work;
  fs::copy(oracles + "qwen2.5/model", work / "writer", fs::copy_options::recursive);
  fs::remove(work / "writer" / "merges.txt");
  write_enhanced_spec(work / "run.yaml", 1, "model: writer");
  const auto result = backlot(fleet(), {.folder = work.path()});
  EXPECT_EQ(result.exit_code, 3) << result.err;
  // Told once, by the one who knows.
  const size_t told = result.err.find("merges.txt");
  ASSERT_NE(told, std::string::npos) << result.err;
  EXPECT_EQ(result.err.find("error:", result.err.find("error:") + 1), std::string::npos)
      << result.err;
  EXPECT_EQ(read_manifest(work / "out" / "run")["totals"]["pending"], 1);
}

TEST(EnhanceStage, AskedToStopWhileTextsAreMadeAFleetKeepsThoseItHas) {
  TemporaryFolder work;
  write_enhanced_spec(work / "run.yaml", 100,
                      "max_tokens: 100, model: " + oracles + "qwen2.5/model");
  const fs::path run = work / "out" / "run";
  Process supervisor(with_binary(fleet()), {.folder = work.path()});
  while (supervisor.running() && times_written(run).empty()) std::this_thread::sleep_for(5ms);
  const auto children = children_of(supervisor.pid());
  supervisor.send(SIGTERM);
  const auto result = supervisor.wait();
  EXPECT_EQ(result.exit_code, 143) << result.err;
  for (const pid_t child : children) EXPECT_NE(::kill(child, 0), 0) << "outlived its supervisor";
  const size_t kept = times_written(run).size();
  EXPECT_GT(kept, 0u);
  EXPECT_LT(kept, 100u);
  const Json manifest = read_manifest(run);
  EXPECT_EQ(manifest["totals"]["pending"], 100);
  size_t shown = 0;
  for (const auto& item : manifest["items"]) shown += !item["enhancement"].is_null();
  EXPECT_EQ(shown, kept);
}

TEST(EnhanceStage, ShardsWantTheirTextsMadeBefore) {
  TemporaryFolder work;
  write_enhanced_spec(work / "run.yaml", 4);
  const auto shard = [&](const char* which, const char* folder) {
    return backlot({"fleet-run", "run.yaml", "--devices", "cpu", "--dtype", "float32", "--threads",
                    "1", "--shard", which, "-o", folder},
                   {.folder = work.path()});
  };
  const auto refused = shard("1/2", "shared");
  EXPECT_EQ(refused.exit_code, 2) << refused.err;
  EXPECT_NE(refused.err.find("backlot generate run.yaml --texts-only -o shared"), std::string::npos)
      << refused.err;
  for (const char* folder : {"shared", "two"}) {
    const auto texts = backlot(generate({"--texts-only", "-o", folder}), {.folder = work.path()});
    ASSERT_EQ(texts.exit_code, 0) << texts.err;
  }
  EXPECT_EQ(shard("1/2", "shared").exit_code, 0);
  EXPECT_EQ(shard("2/2", "two").exit_code, 0);
  const auto merged =
      backlot({"fleet-run", "--merge", "shared", "two", "-o", "all"}, {.folder = work.path()});
  EXPECT_EQ(merged.exit_code, 0) << merged.err;
  expect_complete(work / "all", 4);
}

}  // namespace
}  // namespace backlot
