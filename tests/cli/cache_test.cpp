// A run repeated from the cache; `backlot cache`; limits on what a run writes.
#include <gtest/gtest.h>

#include <fstream>

#include "support/command.h"
#include "support/run_dir.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

const std::string tiny_model = std::string(BACKLOT_TEST_DATA) + "/oracles/sdxl-base/model";

std::vector<std::string> generate(std::vector<std::string> more) {
  std::vector<std::string> all{"generate",
                               "--model",
                               tiny_model,
                               "--width",
                               "32",
                               "--height",
                               "32",
                               "--steps",
                               "1",
                               "--dtype",
                               "float32",
                               "--device",
                               "cpu",
                               "--progress",
                               "off",
                               "--prompt",
                               "a red apple",
                               "--seed",
                               "7",
                               "--count",
                               "6",
                               "--set",
                               "output.name={index:03}"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

void expect_same_bytes(const fs::path& run, const fs::path& other) {
  const Json items = read_manifest(run)["items"];
  for (const auto& item : items) {
    const std::string output = item["output"];
    EXPECT_EQ(read_file(run / output), read_file(other / output)) << output;
  }
}

std::vector<fs::path> entries_of(const fs::path& cache) {
  std::vector<fs::path> entries;
  for (const auto& entry : fs::recursive_directory_iterator(cache / "entries"))
    if (entry.is_regular_file()) entries.push_back(entry.path());
  return entries;
}

void flip_last_byte(const fs::path& file) {
  std::string bytes = read_file(file);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  std::ofstream(file, std::ios::binary) << bytes;
}

TEST(Cache, GivesTheSameBytesWithoutLoadingAnEngine) {
  TemporaryFolder work;
  const auto first =
      backlot(generate({"--cache-dir", "cache", "-o", "first", "--json"}), {.folder = work.path()});
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(Json::parse(first.out)["cached"], 0);
  EXPECT_EQ(entries_of(work / "cache").size(), 6u);

  // With a LibTorch that is not there the engine could not be loaded.
  const CommandOptions no_engine{.folder = work.path(),
                                 .environment = {{"BACKLOT_TORCH", "/nowhere"}}};
  EXPECT_NE(backlot(generate({"-o", "none"}), no_engine).exit_code, 0);
  const auto second =
      backlot(generate({"--cache-dir", "cache", "-o", "second", "--json"}), no_engine);
  ASSERT_EQ(second.exit_code, 0) << second.err;
  EXPECT_EQ(Json::parse(second.out)["done"], 6);
  EXPECT_EQ(Json::parse(second.out)["cached"], 6);
  expect_complete(work / "second", 6);
  expect_same_bytes(work / "first", work / "second");
  const Json before = read_manifest(work / "first")["items"];
  const Json after = read_manifest(work / "second")["items"];
  for (size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(before[i]["cached"], false);
    EXPECT_EQ(after[i]["cached"], true);
    EXPECT_EQ(after[i]["attempts"], 0);
    for (const char* same : {"started", "seconds", "device", "dtype", "batch", "sha256"})
      EXPECT_EQ(before[i][same], after[i][same]) << same;
  }
}

TEST(Cache, FindsACorruptedEntryAndMakesItAgain) {
  TemporaryFolder work;
  ASSERT_EQ(
      backlot(generate({"--cache-dir", "cache", "-o", "first"}), {.folder = work.path()}).exit_code,
      0);
  flip_last_byte(entries_of(work / "cache").at(2));
  const auto second = backlot(generate({"--cache-dir", "cache", "-o", "second", "--json"}),
                              {.folder = work.path()});
  ASSERT_EQ(second.exit_code, 0) << second.err;
  EXPECT_NE(second.err.find("damaged"), std::string::npos) << second.err;
  EXPECT_EQ(Json::parse(second.out)["cached"], 5);
  expect_complete(work / "second", 6);
  expect_same_bytes(work / "first", work / "second");
  // It was put back.
  const auto third =
      backlot(generate({"--cache-dir", "cache", "-o", "third", "--json"}), {.folder = work.path()});
  EXPECT_EQ(Json::parse(third.out)["cached"], 6) << third.err;
}

TEST(Cache, OtherSettingsAreOtherOutputs) {
  TemporaryFolder work;
  const CommandOptions here{.folder = work.path()};
  ASSERT_EQ(backlot(generate({"--cache-dir", "cache", "-o", "first"}), here).exit_code, 0);
  const std::vector<std::vector<std::string>> others = {{"--no-metadata"},
                                                        {"--set", "output.format=webp"}};
  for (size_t i = 0; i < others.size(); ++i) {
    auto more = others[i];
    more.insert(more.end(), {"--cache-dir", "cache", "-o", "other-" + std::to_string(i), "--json"});
    const auto result = backlot(generate(more), here);
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(Json::parse(result.out)["cached"], 0) << others[i][0];
  }
}

TEST(Cache, IsFilledAndUsedByFleetsToo) {
  TemporaryFolder work;
  std::ofstream(work / "run.yaml") << "model: " << tiny_model << R"(
defaults: {width: 32, height: 32, steps: 1, seed: 7, count: 6}
jobs: [{prompt: a red apple}]
output: {name: "{index:03}"}
)";
  const auto fleet_run = [&](const std::string& name, const std::string& torch) {
    CommandOptions options{.folder = work.path()};
    if (!torch.empty()) options.environment["BACKLOT_TORCH"] = torch;
    return backlot({"fleet-run", "run.yaml", "-o", name, "--devices", "cpu,cpu", "--dtype",
                    "float32", "--progress", "off", "--json", "--cache", "cache"},
                   options);
  };
  const auto first = fleet_run("first", "");
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(Json::parse(first.out)["cached"], 0);
  EXPECT_EQ(entries_of(work / "cache").size(), 6u);
  const auto second = fleet_run("second", "/nowhere");
  ASSERT_EQ(second.exit_code, 0) << second.err;
  EXPECT_EQ(Json::parse(second.out)["cached"], 6);
  expect_complete(work / "second", 6);
  expect_same_bytes(work / "first", work / "second");
  // What one command made, the other takes.
  const auto third = backlot({"generate", "run.yaml", "-o", "third", "--device", "cpu", "--dtype",
                              "float32", "--progress", "off", "--json", "--cache-dir", "cache"},
                             {.folder = work.path()});
  ASSERT_EQ(third.exit_code, 0) << third.err;
  EXPECT_EQ(Json::parse(third.out)["cached"], 6);
  expect_same_bytes(work / "first", work / "third");
}

TEST(Cache, CommandSaysClearsAndVerifies) {
  TemporaryFolder work;
  const CommandOptions here{.folder = work.path()};
  ASSERT_EQ(backlot(generate({"--cache-dir", "cache", "-o", "run"}), here).exit_code, 0);
  const auto stats = backlot({"cache", "stats", "cache", "--json"}, here);
  ASSERT_EQ(stats.exit_code, 0) << stats.err;
  const Json said = Json::parse(stats.out);
  EXPECT_EQ(said["entries"], 6);
  EXPECT_GT(said["bytes"], 6 * 500);
  EXPECT_TRUE(said["oldest_use"].is_string());

  EXPECT_EQ(backlot({"cache", "verify", "cache"}, here).exit_code, 0);
  const fs::path damaged = entries_of(work / "cache").at(3);
  flip_last_byte(damaged);
  const auto verify = backlot({"cache", "verify", "cache", "--json"}, here);
  EXPECT_EQ(verify.exit_code, 1);
  EXPECT_EQ(Json::parse(verify.out)["sound"], 5);
  ASSERT_EQ(Json::parse(verify.out)["damaged"].size(), 1u);
  EXPECT_NE(verify.out.find(damaged.filename().string()), std::string::npos);
  EXPECT_FALSE(fs::exists(damaged));
  EXPECT_EQ(backlot({"cache", "verify", "cache"}, here).exit_code, 0);

  std::ofstream(work / "cache" / "notes.txt") << "mine";
  EXPECT_EQ(Json::parse(backlot({"cache", "clear", "cache", "--json"}, here).out)["removed"], 5);
  EXPECT_EQ(Json::parse(backlot({"cache", "stats", "cache", "--json"}, here).out)["entries"], 0);
  EXPECT_TRUE(fs::exists(work / "cache" / "notes.txt"));

  // A folder that is no cache is neither read nor made into one.
  for (const char* action : {"stats", "clear", "verify"}) {
    EXPECT_EQ(backlot({"cache", action, "run"}, here).exit_code, 3) << action;
    EXPECT_EQ(backlot({"cache", action, "nowhere"}, here).exit_code, 3) << action;
  }
  EXPECT_EQ(backlot({"cache", "verify"}, here).exit_code, 2);
  expect_complete(work / "run", 6);
}

TEST(Cache, RefusesWhatCantBeMeant) {
  TemporaryFolder work;
  const CommandOptions here{.folder = work.path()};
  fs::create_directories(work / "photos");
  std::ofstream(work / "photos" / "a.jpg") << "x";
  const auto foreign = backlot(generate({"--cache-dir", "photos", "-o", "run"}), here);
  EXPECT_EQ(foreign.exit_code, 3);
  EXPECT_NE(foreign.err.find("no cache"), std::string::npos) << foreign.err;
  EXPECT_EQ(backlot(generate({"--cache-max-size", "1GB"}), here).exit_code, 2);
  EXPECT_EQ(backlot(generate({"--cache-dir", "c", "--cache-max-size", "big"}), here).exit_code, 2);
  EXPECT_EQ(backlot(generate({"--cache-dir", "c", "--cache-max-age", "30"}), here).exit_code, 2);
  EXPECT_EQ(backlot(generate({"--quota", "0"}), here).exit_code, 2);
  EXPECT_FALSE(fs::exists(work / "run"));
}

TEST(Cache, ThatCantBeWrittenIsAWarning) {
  TemporaryFolder work;
  const CommandOptions here{.folder = work.path()};
  ASSERT_EQ(backlot(generate({"--cache-dir", "cache", "-o", "first"}), here).exit_code, 0);
  fs::remove_all(work / "cache" / "entries");
  std::ofstream(work / "cache" / "entries") << "in the way";
  const auto result = backlot(generate({"--cache-dir", "cache", "-o", "run"}), here);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.err.find("the run goes on without"), std::string::npos) << result.err;
  expect_complete(work / "run", 6);
}

TEST(Quota, StopsTheRunAndGoesOnWithMore) {
  TemporaryFolder work;
  const CommandOptions here{.folder = work.path()};
  ASSERT_EQ(backlot(generate({"-o", "whole"}), here).exit_code, 0);
  const uint64_t bytes = read_manifest(work / "whole")["totals"]["bytes"];
  const auto stopped = backlot(generate({"-o", "run", "--quota", std::to_string(bytes / 2)}), here);
  EXPECT_EQ(stopped.exit_code, 3);
  EXPECT_NE(stopped.err.find("quota"), std::string::npos) << stopped.err;
  const Json totals = read_manifest(work / "run")["totals"];
  EXPECT_GT(totals["done"], 0);
  EXPECT_GT(totals["pending"], 0);
  EXPECT_LE(totals["bytes"], bytes / 2);
  const auto resumed = backlot(generate({"-o", "run", "--quota", std::to_string(bytes)}), here);
  EXPECT_EQ(resumed.exit_code, 0) << resumed.err;
  expect_complete(work / "run", 6);
}

TEST(MinFree, StopsTheRunBeforeTheDiskIsFull) {
  TemporaryFolder work;
  const CommandOptions here{.folder = work.path()};
  const auto stopped = backlot(generate({"-o", "run", "--min-free", "900TB"}), here);
  EXPECT_EQ(stopped.exit_code, 3);
  EXPECT_NE(stopped.err.find("--min-free"), std::string::npos) << stopped.err;
  EXPECT_EQ(read_manifest(work / "run")["totals"]["done"], 0);
  EXPECT_EQ(backlot(generate({"-o", "run"}), here).exit_code, 0);
  expect_complete(work / "run", 6);
}

TEST(MaxBytes, FailsThePngThatDoesNotFitWithItsSize) {
  TemporaryFolder work;
  const auto result =
      backlot(generate({"-o", "run", "--set", "output.max_bytes=100"}), {.folder = work.path()});
  EXPECT_EQ(result.exit_code, 1) << result.err;
  for (const auto& item : read_manifest(work / "run")["items"]) {
    EXPECT_EQ(item["status"], "failed");
    EXPECT_NE(item["error"].get<std::string>().find("100 B"), std::string::npos);
  }
}

}  // namespace
}  // namespace backlot
