// `backlot fleet-run` as a user runs it: over several workers, killed, asked to stop, in shards.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <cstdlib>
#include <random>
#include <sstream>
#include <thread>

#include "support/command.h"
#include "support/run_dir.h"
#include "support/temporary_folder.h"
#include "support/tiny_runs.h"

namespace backlot {
namespace {

using namespace std::chrono_literals;

std::vector<std::string> fleet_command(std::vector<std::string> more = {}) {
  std::vector<std::string> words{"fleet-run", "run.yaml", "--devices",  "cpu,cpu",
                                 "--dtype",   "float32",  "--progress", "plain"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

void expect_each_once(const fs::path& run, size_t items) {
  expect_complete(run, items);
  const auto lines = times_done(run);
  EXPECT_EQ(lines.size(), items);
  for (const auto& [id, count] : lines) EXPECT_EQ(count, 1) << id;
}

void expect_same_pictures(const fs::path& a, const fs::path& b) {
  ASSERT_EQ(files_in(a / "images"), files_in(b / "images"));
  for (const auto& entry : fs::directory_iterator(a / "images"))
    EXPECT_EQ(read_file(entry.path()), read_file(b / "images" / entry.path().filename()))
        << entry.path();
}

TEST(FleetRun, GivesTheBytesOfASingleRun) {
  TemporaryFolder work;
  write_tiny_spec(work / "run.yaml", 9);
  const auto alone = backlot({"generate", "run.yaml", "--device", "cpu", "--dtype", "float32",
                              "--threads", "1", "--batch-size", "2", "-o", "alone", "-q"},
                             {.folder = work.path()});
  ASSERT_EQ(alone.exit_code, 0) << alone.err;
  const auto fleet =
      backlot(fleet_command({"--batch-size", "2", "-o", "fleet"}), {.folder = work.path()});
  ASSERT_EQ(fleet.exit_code, 0) << fleet.err;
  EXPECT_EQ(fleet.out, "fleet\n");
  // A worker that crashed would be made good for, and go unnoticed.
  EXPECT_EQ(fleet.err.find("ended"), std::string::npos) << fleet.err;
  expect_each_once(work / "fleet", 9);
  expect_same_pictures(work / "alone", work / "fleet");
}

// "1000,200,20": items, kills of workers, kills of supervisors. The default is sized for a test.
std::vector<int> storm() {
  const char* wish = std::getenv("BACKLOT_STORM");
  std::istringstream in(wish ? wish : "80,12,4");
  std::vector<int> numbers;
  for (std::string word; std::getline(in, word, ',');) numbers.push_back(std::stoi(word));
  return numbers;
}

TEST(FleetRun, StandsAStormOfKills) {
  const auto numbers = storm();
  const int items = numbers.at(0), worker_kills = numbers.at(1), supervisor_kills = numbers.at(2);
  TemporaryFolder work;
  write_tiny_spec(work / "run.yaml", items);
  const fs::path run = work / "out" / "run";
  std::mt19937 random(20260131);
  int killed = 0;
  for (int life = 1; life <= supervisor_kills; ++life) {
    Process supervisor(with_binary(fleet_command()), {.folder = work.path()});
    const size_t before = files_in(run / "images");
    for (; killed < life * worker_kills / supervisor_kills && supervisor.running(); ++killed) {
      // Most kills are to fall into the making: wait for a new picture first.
      const size_t made = files_in(run / "images");
      for (int i = 0; i < 200 && files_in(run / "images") == made && supervisor.running(); ++i)
        std::this_thread::sleep_for(5ms);
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 25000));
      const auto workers = children_of(supervisor.pid());
      if (!workers.empty()) ::kill(workers[random() % workers.size()], SIGKILL);
    }
    supervisor.send(SIGKILL);
    supervisor.wait();
    EXPECT_GE(files_in(run / "images"), before) << "a kill took finished pictures along";
    if (fs::exists(run / "manifest.json")) {
      EXPECT_NO_THROW(read_manifest(run));
    }
  }
  EXPECT_GE(killed, worker_kills / 2);
  auto last = backlot(fleet_command(), {.folder = work.path()});
  EXPECT_EQ(last.exit_code, 0) << last.err;
  expect_each_once(run, static_cast<size_t>(items));
}

TEST(FleetRun, AnItemThatEndsItsWorkersFailsAlone) {
  TemporaryFolder work;
  write_tiny_spec(work / "run.yaml", 12);
  const auto result = backlot(
      fleet_command(), {.folder = work.path(), .environment = {{"BACKLOT_FAULT", "segfault@5"}}});
  EXPECT_EQ(result.exit_code, 1) << result.err;
  const Json manifest = read_manifest(work / "out" / "run");
  EXPECT_EQ(manifest["totals"]["done"], 11);
  EXPECT_NE(manifest["items"][5]["error"].get<std::string>().find("ended two workers"),
            std::string::npos);
  EXPECT_EQ(backlot(fleet_command(), {.folder = work.path()}).exit_code, 0);
  expect_each_once(work / "out" / "run", 12);
}

TEST(FleetRun, OnSigtermItStopsInTimeAndGoesOnLater) {
  TemporaryFolder work;
  write_tiny_spec(work / "run.yaml", 400, 6);
  Process supervisor(with_binary(fleet_command()), {.folder = work.path()});
  const fs::path run = work / "out" / "run";
  while (supervisor.running() && files_in(run / "images") < 4) std::this_thread::sleep_for(5ms);
  supervisor.send(SIGTERM);
  const auto asked = std::chrono::steady_clock::now();
  const auto result = supervisor.wait();
  EXPECT_LT(std::chrono::steady_clock::now() - asked, 5s);
  EXPECT_EQ(result.exit_code, 143) << result.err;
  const Json manifest = read_manifest(run);
  EXPECT_EQ(manifest["totals"]["failed"], 0);
  EXPECT_EQ(manifest["totals"]["done"].get<size_t>(), files_in(run / "images"));
  write_tiny_spec(work / "run.yaml", 400, 6);
  EXPECT_EQ(times_done(run).size(), files_in(run / "images"));
}

TEST(FleetRun, ShardsShareAFolderOrAreMerged) {
  TemporaryFolder work;
  write_tiny_spec(work / "run.yaml", 11);
  const auto shard = [](const char* which, const char* folder) {
    return with_binary({"fleet-run", "run.yaml", "--devices", "cpu", "--dtype", "float32",
                        "--batch-size", "1", "--shard", which, "-o", folder, "-q"});
  };
  {
    Process first(shard("1/2", "shared"), {.folder = work.path()});
    Process second(shard("2/2", "shared"), {.folder = work.path()});
    EXPECT_EQ(first.wait().exit_code, 0);
    EXPECT_EQ(second.wait().exit_code, 0);
  }
  expect_each_once(work / "shared", 11);
  for (const auto& [which, folder] : {std::pair("1/2", "one"), std::pair("2/2", "two")})
    ASSERT_EQ(run_program(shard(which, folder), {.folder = work.path()}).exit_code, 0);
  const auto merged =
      backlot({"fleet-run", "--merge", "one", "two", "-o", "merged"}, {.folder = work.path()});
  EXPECT_EQ(merged.exit_code, 0) << merged.err;
  expect_each_once(work / "merged", 11);
  expect_same_pictures(work / "shared", work / "merged");
}

TEST(FleetRun, AFullDiskStopsItWithItsCodeAndItGoesOnWhenThereIsRoom) {
  TemporaryFolder work;
  write_tiny_spec(work / "run.yaml", 40);
  SmallDisk disk(work / "out", "size=160k");
  if (!disk.mounted()) GTEST_SKIP() << "mounting a small file system needs the privilege to mount";
  std::ofstream(work / "out" / "filler") << std::string(72 << 10, 'x');
  const auto full = backlot(fleet_command(), {.folder = work.path()});
  EXPECT_EQ(full.exit_code, 3) << full.err;
  fs::remove(work / "out" / "filler");
  ASSERT_EQ(::mount("tmpfs", (work / "out").c_str(), "tmpfs", MS_REMOUNT, "size=4m"), 0);
  const auto later = backlot(fleet_command(), {.folder = work.path()});
  EXPECT_EQ(later.exit_code, 0) << later.err;
  expect_complete(work / "out" / "run", 40);
}

TEST(FleetRun, AQuotaStopsItWithItsCodeAndALargerOneLetsItGoOn) {
  TemporaryFolder work;
  write_tiny_spec(work / "run.yaml", 40);
  const auto full = backlot(fleet_command({"--quota", "40kB"}), {.folder = work.path()});
  EXPECT_EQ(full.exit_code, 3) << full.err;
  EXPECT_NE(full.err.find("quota"), std::string::npos) << full.err;
  const auto later = backlot(fleet_command({"--quota", "1MB"}), {.folder = work.path()});
  EXPECT_EQ(later.exit_code, 0) << later.err;
  expect_each_once(work / "out" / "run", 40);
}

struct Refused {
  std::vector<std::string> more;
  int exit_code;
  std::string line;
};

TEST(FleetRun, RefusesWhatCanNotBe) {
  TemporaryFolder work;
  write_tiny_spec(work / "run.yaml", 2);
  const std::vector<Refused> cases{
      {{"--shard", "3/2"}, 2, "--shard"},
      {{"--shard", "x"}, 2, "--shard"},
      {{"--devices", "gpu"}, 2, "gpu"},
      {{"--devices", "cpu,,cpu"}, 2, "--devices"},
      {{"--devices", "cuda:77"}, 3, "cuda:77"},
      {{"--merge", "nowhere", "--output", "merged"}, 2, "--merge"},
      {{"--attempts", "0"}, 2, "attempts"},
      {{"--quantize", "fp8"}, 3, "fp8"},
      {{"--shard", "1/2", "--fresh"}, 2, "--fresh"},
  };
  for (const auto& each : cases) {
    auto words = fleet_command(each.more);
    const auto result = backlot(words, {.folder = work.path()});
    EXPECT_EQ(result.exit_code, each.exit_code) << each.line << ": " << result.err;
    EXPECT_NE(result.err.find("backlot: error: "), std::string::npos) << result.err;
    EXPECT_NE(result.err.find(each.line), std::string::npos) << result.err;
    EXPECT_FALSE(fs::exists(work / "out" / "run" / "images")) << each.line;
  }
  EXPECT_EQ(backlot({"fleet-run", "--merge", "nowhere"}, {.folder = work.path()}).exit_code, 2);
  const auto merged =
      backlot({"fleet-run", "--merge", "nowhere", "-o", "merged"}, {.folder = work.path()});
  EXPECT_EQ(merged.exit_code, 3);
  EXPECT_NE(merged.err.find("nowhere"), std::string::npos) << merged.err;
  const auto nothing = backlot({"fleet-run"}, {.folder = work.path()});
  EXPECT_EQ(nothing.exit_code, 2);
  EXPECT_NE(nothing.err.find("fleet-run: no spec is given"), std::string::npos) << nothing.err;
}

}  // namespace
}  // namespace backlot
