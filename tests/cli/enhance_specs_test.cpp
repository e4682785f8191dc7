// Specs of the task enhance, as a user runs them: with the oracles' tiny language model, whose
// texts are gibberish, so that prompts are kept in the end.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "support/command.h"
#include "support/run_dir.h"
#include "support/schema.h"
#include "support/temporary_folder.h"
#include "support/tiny_runs.h"

namespace backlot {
namespace {

using namespace std::chrono_literals;

const std::string oracles = std::string(BACKLOT_TEST_DATA) + "/oracles/";

const std::vector<std::string> on_cpu{"--device", "cpu", "--dtype", "float32", "--threads", "1"};

// Into out/texts.
void write_texts_spec(const fs::path& file, int prompts, const std::string& more = "") {
  std::ofstream out(file);
  out << "version: 1\nname: texts\ntask: enhance\nmodel: " << oracles
      << "qwen2.5/model\ndefaults: {max_tokens: 12}\njobs:\n";
  for (int i = 0; i < prompts; ++i) out << "  - {prompt: fox number " << i << ", retries: 1}\n";
  out << more;
}

std::vector<std::string> enhance(std::vector<std::string> words) {
  words.insert(words.begin(), "enhance");
  words.insert(words.end(), on_cpu.begin(), on_cpu.end());
  return words;
}

TEST(EnhanceSpecs, EveryTextIsAFileAndAnItem) {
  TemporaryFolder work;
  write_texts_spec(work / "texts.yaml", 2,
                   "  - {messages: [{role: user, content: Hi}], seed: 4}\n"
                   "  - {messages: [{role: user, content: Hi}], seed: 4, temperature: 1, "
                   "matrix: {max_tokens: [3, 5]}}\n");
  const auto result = backlot(enhance({"texts.yaml"}), {.folder = work.path()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "out/texts\n");
  const fs::path run = work / "out" / "texts";
  expect_complete(run, 5);
  expect_texts_once(run, 5);
  const Json manifest = read_manifest(run);
  EXPECT_EQ(manifest["task"], "enhance");
  const Json schema =
      Json::parse(read_file(fs::path(BACKLOT_SOURCE_DIR) / "docs/schema/manifest.schema.json"));
  EXPECT_EQ(schema_problems(manifest, schema), std::vector<std::string>{});
  const Json& items = manifest["items"];
  for (const auto& item : items)
    EXPECT_EQ(read_file(run / item["output"].get<std::string>()),
              item["enhanced_prompt"].get<std::string>() + "\n");
  EXPECT_EQ(items[0]["prompt"], "fox number 0");
  EXPECT_EQ(items[0]["enhancement"]["tries"], 2);  // gibberish, and again
  EXPECT_EQ(items[0]["enhancement"]["fell_back"], true);
  EXPECT_EQ(items[2]["prompt"], "Hi");
  EXPECT_EQ(items[2]["enhancement"]["finish_reason"], "length");
  EXPECT_EQ(items[2]["enhancement"]["tokens"], 12);
  EXPECT_EQ(items[3]["enhancement"]["tokens"], 3);
  EXPECT_NE(items[2]["enhanced_prompt"], "Hi");
  const std::string report = read_file(run / "report.html");
  EXPECT_NE(report.find("fox number 1"), std::string::npos);

  // Again, nothing is made; a text that was lost is written anew without the model.
  fs::remove(run / items[2]["output"].get<std::string>());
  const auto again = backlot(enhance({"texts.yaml", "--json"}), {.folder = work.path()});
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(Json::parse(again.out)["reused"], 4);
  EXPECT_EQ(again.err.find("enhancing"), std::string::npos) << again.err;
  expect_complete(run, 5);
  expect_texts_once(run, 5);
}

TEST(EnhanceSpecs, WhatIsBeyondTheContextFailsAlone) {
  TemporaryFolder work;
  std::string words;
  for (int i = 0; i < 40000; ++i) words += "word ";
  write_texts_spec(work / "texts.yaml", 1,
                   "  - {messages: [{role: user, content: " + words + "}], seed: 4}\n" +
                       "  - {prompt: " + words + "}\n");
  const auto result = backlot(enhance({"texts.yaml", "-q"}), {.folder = work.path()});
  EXPECT_EQ(result.exit_code, 1) << result.err;
  const Json manifest = read_manifest(work / "out" / "texts");
  EXPECT_EQ(manifest["totals"]["done"], 1);
  for (const int i : {1, 2}) {
    EXPECT_EQ(manifest["items"][i]["status"], "failed");
    EXPECT_NE(manifest["items"][i]["error"].get<std::string>().find("context"), std::string::npos)
        << manifest["items"][i]["error"];
  }
}

TEST(EnhanceSpecs, PromptsGoIntoARunFolderToo) {
  TemporaryFolder work;
  const auto command = enhance({"--prompt", "a {red} fox", "--prompt", "a hen", "--model",
                                oracles + "qwen2.5/model", "--max-tokens", "9", "--stop", "zzz",
                                "--retries", "0", "--variants", "2", "-o", "texts", "--json"});
  const auto first = backlot(command, {.folder = work.path()});
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(Json::parse(first.out)["done"], 4);
  const Json items = read_manifest(work / "texts")["items"];
  EXPECT_EQ(items[0]["prompt"], "a {red} fox");
  EXPECT_EQ(items[0]["parameters"]["stop"], Json({"zzz"}));
  const auto again = backlot(command, {.folder = work.path()});
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(Json::parse(again.out)["reused"], 4);  // seeds are the folder's
}

TEST(EnhanceSpecs, AskedToStopItKeepsWhatItHasAndGoesOn) {
  TemporaryFolder work;
  write_texts_spec(work / "texts.yaml", 100, "");
  const fs::path run = work / "out" / "texts";
  Process first(with_binary(enhance({"texts.yaml", "--set", "defaults.max_tokens=60"})),
                {.folder = work.path()});
  while (first.running() && times_written(run).empty()) std::this_thread::sleep_for(5ms);
  first.send(SIGINT);
  const auto stopped = first.wait();
  EXPECT_EQ(stopped.exit_code, 130) << stopped.err;
  const auto result =
      backlot(enhance({"texts.yaml", "--set", "defaults.max_tokens=60"}), {.folder = work.path()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  expect_complete(run, 100);
  expect_texts_once(run, 100);
}

TEST(EnhanceSpecs, CommandsNameEachOther) {
  TemporaryFolder work;
  write_texts_spec(work / "texts.yaml", 1);
  write_tiny_spec(work / "run.yaml", 1);
  const auto says = [&](const std::vector<std::string>& words, const std::string& what) {
    const auto result = backlot(words, {.folder = work.path()});
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_NE(result.err.find(what), std::string::npos) << result.err;
  };
  says({"generate", "texts.yaml"}, "run 'backlot enhance texts.yaml'");
  says({"fleet-run", "texts.yaml"}, "run 'backlot enhance texts.yaml'");
  says({"enhance", "run.yaml"}, "run 'backlot generate'");
  says({"enhance", "texts.yaml", "--style", "anime"}, "--style: goes with the form without a spec");
  says({"enhance", "texts.yaml", "--temperature", "1"}, "use --set");
  says({"enhance", "--prompt", "a fox", "--fresh"}, "name a run folder with -o");
  EXPECT_FALSE(fs::exists(work / "out"));
}

TEST(EnhanceSpecs, ADryRunShowsThePlan) {
  TemporaryFolder work;
  write_texts_spec(work / "texts.yaml", 2);
  const auto plan = backlot({"enhance", "texts.yaml", "--dry-run"}, {.folder = work.path()});
  EXPECT_EQ(plan.exit_code, 0) << plan.err;
  EXPECT_EQ(plan.out.rfind("texts: 2 text(s) into out/texts\n", 0), 0u) << plan.out;
  const auto json =
      backlot({"enhance", "texts.yaml", "--dry-run", "--json"}, {.folder = work.path()});
  EXPECT_EQ(Json::parse(json.out)["plan"][1]["parameters"]["prompt"], "fox number 1");
  EXPECT_FALSE(fs::exists(work / "out"));
}

}  // namespace
}  // namespace backlot
