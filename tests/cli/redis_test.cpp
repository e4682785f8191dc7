// `backlot fleet-run` over a real redis-server, as a user runs it.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <memory>
#include <thread>

#include "redis/with_server.h"
#include "support/command.h"
#include "support/run_dir.h"
#include "support/tiny_runs.h"

namespace backlot {
namespace {

using namespace std::chrono_literals;

class CommandsOverRedis : public ::testing::Test {
 protected:
  void SetUp() override {
    NEEDS_REDIS_SERVER();
    server_ = std::make_unique<RedisServer>("always", "secret");
    options_.folder = folder_.path();
    options_.environment = {{"BACKLOT_REDIS", server_->url()}};
  }
  std::vector<std::string> worker(const std::string& devices = "cpu") const {
    return with_binary(
        {"fleet-run", "--worker", "--devices", devices, "--threads", "1", "--claim-after", "3"});
  }

  TemporaryFolder folder_;
  std::unique_ptr<RedisServer> server_;
  CommandOptions options_;
};

TEST_F(CommandsOverRedis, BoxesAreKilledAndTheServerRestartedAndEveryItemIsMadeOnce) {
  write_tiny_spec(folder_ / "spec.yaml", 60);
  const fs::path run = folder_ / "out" / "run";
  Process coordinator(with_binary({"fleet-run", "spec.yaml", "--engine", "redis"}), options_);
  std::vector<std::unique_ptr<Process>> boxes;
  for (int i = 0; i < 3; ++i) boxes.push_back(std::make_unique<Process>(worker(), options_));
  const auto wait_for = [&](size_t pictures) {
    while (coordinator.running() && files_in(run / "images") < pictures)
      std::this_thread::sleep_for(5ms);
  };
  wait_for(5);
  boxes[0]->send(SIGKILL);
  boxes[0]->wait();
  server_->restart();
  wait_for(20);
  for (const pid_t child : children_of(boxes[1]->pid())) ::kill(child, SIGKILL);
  boxes[0] = std::make_unique<Process>(worker(), options_);
  wait_for(35);
  server_->restart();
  const auto result = coordinator.wait();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "out/run\n");
  EXPECT_EQ(result.err.find("secret"), std::string::npos) << result.err;
  for (const auto& [id, times] : times_done(run)) EXPECT_EQ(times, 1) << id;
  for (auto& box : boxes) {
    box->send(SIGTERM);
    const auto ended = box->wait();
    EXPECT_EQ(ended.exit_code, 143) << ended.err;
    EXPECT_EQ(ended.err.find("secret"), std::string::npos) << ended.err;
  }
  // A run of this machine alone finds everything done, and tidies up after the killed ones.
  const auto local = run_program(with_binary({"generate", "spec.yaml"}), options_);
  EXPECT_EQ(local.exit_code, 0) << local.err;
  EXPECT_EQ(times_done(run).size(), 60u);
  expect_complete(run, 60);
}

TEST_F(CommandsOverRedis, OutputsAreTheBytesOfALocalRun) {
  write_tiny_spec(folder_ / "spec.yaml", 4);
  const auto local = run_program(
      with_binary({"generate", "spec.yaml", "--batch-size", "2", "--threads", "1", "-o", "local"}),
      options_);
  ASSERT_EQ(local.exit_code, 0) << local.err;
  Process coordinator(
      with_binary({"fleet-run", "spec.yaml", "--engine", "redis", "--batch-size", "2"}), options_);
  auto words = worker();
  words.insert(words.end(), {"--idle-exit", "3", "--json"});
  const auto box = run_program(words, options_);
  EXPECT_EQ(box.exit_code, 0) << box.err;
  EXPECT_EQ(Json::parse(box.out)["done"], 4);
  const auto result = coordinator.wait();
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json one = read_manifest(folder_ / "local"), other = read_manifest(folder_ / "out" / "run");
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(one["items"][i]["sha256"], other["items"][i]["sha256"]);
}

TEST_F(CommandsOverRedis, BoxesRenderTheTextsThatTheCoordinatorHadMade) {
  const auto local = [&](std::vector<std::string> more) {
    std::vector<std::string> words{"generate", "--device", "cpu", "--threads",    "1",
                                   "--dtype",  "float32",  "-q",  "--no-metadata"};
    words.insert(words.end(), more.begin(), more.end());
    return run_program(with_binary(words), options_);
  };
  write_enhanced_spec(folder_ / "spec.yaml", 2);
  ASSERT_EQ(local({"spec.yaml", "--texts-only"}).exit_code, 0);
  const fs::path run = folder_ / "out" / "run";
  replace_texts(run, "a blue fox");
  write_enhanced_spec(folder_ / "spec.yaml", 3);
  Process box(worker(), options_);
  const auto result =
      run_program(with_binary({"fleet-run", "spec.yaml", "--engine", "redis", "--dtype", "float32",
                               "--batch-size", "1", "--no-metadata"}),
                  options_);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.err.find("1 prompt(s) enhanced"), std::string::npos) << result.err;
  const Json items = read_manifest(run)["items"];
  EXPECT_EQ(items[1]["enhanced_prompt"], "a blue fox 1");
  const auto alone = local(
      {"--prompt", "a blue fox 1", "--seed", "3", "--width", "32", "--height", "32", "--steps", "2",
       "--model", std::string(BACKLOT_TEST_DATA) + "/oracles/sdxl-base/model", "-o", "alone"});
  ASSERT_EQ(alone.exit_code, 0) << alone.err;
  EXPECT_EQ(items[1]["sha256"], read_manifest(folder_ / "alone")["items"][0]["sha256"]);
}

TEST_F(CommandsOverRedis, FreshStartsOver) {
  write_tiny_spec(folder_ / "spec.yaml", 2);
  const auto follow = [&](std::vector<std::string> more) {
    std::vector<std::string> words{"fleet-run", "spec.yaml", "--engine", "redis"};
    words.insert(words.end(), more.begin(), more.end());
    return run_program(with_binary(words), options_);
  };
  Process box(worker(), options_);
  ASSERT_EQ(follow({}).exit_code, 0);
  ASSERT_EQ(follow({}).exit_code, 0);
  const auto run = folder_ / "out" / "run";
  const auto made = read_manifest(run)["items"][0]["started"];
  const auto again = follow({"--fresh"});
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_NE(read_manifest(run)["items"][0]["started"], made);
}

TEST_F(CommandsOverRedis, WhatDoesNotGoTogetherIsSaid) {
  write_tiny_spec(folder_ / "spec.yaml", 1);
  const auto refused = [&](std::vector<std::string> words, const std::string& part) {
    words.insert(words.begin(), "fleet-run");
    const auto result = run_program(with_binary(words), options_);
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_NE(result.err.find(part), std::string::npos) << result.err;
  };
  refused({"spec.yaml", "--worker"}, "does not go with --worker");
  refused({"--worker", "--dtype", "float32"}, "does not go with --worker");
  refused({"spec.yaml", "--engine", "redis", "--devices", "cpu"}, "--devices: does not go with");
  refused({"spec.yaml", "--idle-exit", "1"}, "is for --worker");
  refused({"spec.yaml", "--queue", "q"}, "is for --engine redis");
  refused({"spec.yaml", "--engine", "redis", "--redis", "rediss://:pass@box"}, "TLS");
  options_.environment.erase("BACKLOT_REDIS");
  refused({"spec.yaml", "--engine", "redis"}, "no server is given");
}

TEST_F(CommandsOverRedis, NoServerAndNoRightPasswordAreTheEnvironmentsFault) {
  const auto box = [&](const std::string& url) {
    return run_program(with_binary({"fleet-run", "--worker", "--redis", url}), options_);
  };
  std::string wrong = server_->url();
  wrong.replace(wrong.find("secret"), 6, "guess!");
  const auto refused = box(wrong);
  EXPECT_EQ(refused.exit_code, 3) << refused.err;
  EXPECT_NE(refused.err.find("WRONGPASS"), std::string::npos) << refused.err;
  EXPECT_EQ(refused.err.find("guess!"), std::string::npos) << refused.err;
}

}  // namespace
}  // namespace backlot
