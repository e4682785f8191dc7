// Kills, signals, full disks, broken files: run the same command again and it goes on.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <random>
#include <thread>

#include "support/command.h"
#include "support/run_dir.h"
#include "support/temporary_folder.h"
#include "support/tiny_runs.h"

namespace backlot {
namespace {

using namespace std::chrono_literals;

std::vector<std::string> generate_command() {
  return {"generate", "run.yaml", "--device", "cpu", "--dtype", "float32", "--progress", "off"};
}

TEST(Killed, FiftyTimesLosesNothingAndRepeatsNothing) {
  TemporaryFolder work;
  write_tiny_spec(work / "run.yaml", 200);
  const fs::path run = work / "out" / "run";
  std::mt19937 random(20260131);
  size_t before = 0;
  for (int kill = 0; kill < 50; ++kill) {
    Process process(with_binary(generate_command()), {.folder = work.path()});
    // Most kills are to fall into the making, not into the start: wait for a new picture first.
    for (int i = 0; i < 400 && files_in(run / "images") <= before && process.running(); ++i)
      std::this_thread::sleep_for(5ms);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 25000));
    process.send(SIGKILL);
    process.wait();
    const size_t now = files_in(run / "images");
    EXPECT_GE(now, before) << "a kill took finished pictures along";
    before = now;
    if (fs::exists(run / "manifest.json")) {
      EXPECT_NO_THROW(read_manifest(run));
    }
  }
  const auto last = backlot(generate_command(), {.folder = work.path()});
  EXPECT_EQ(last.exit_code, 0) << last.err;
  expect_complete(run, 200);
  // Done twice would be two lines for one id in the journals.
  const auto lines = times_done(run);
  EXPECT_EQ(lines.size(), 200u);
  for (const auto& [id, count] : lines) EXPECT_EQ(count, 1) << id;
}

TEST(Rerun, OfACompleteRunMakesNothing) {
  TemporaryFolder work;
  write_tiny_spec(work / "run.yaml", 3);
  ASSERT_EQ(backlot(generate_command(), {.folder = work.path()}).exit_code, 0);
  const fs::path run = work / "out" / "run";
  const auto made = fs::last_write_time(run / "images" / "00000-a-red-fox-1.png");
  ASSERT_EQ(backlot(generate_command(), {.folder = work.path()}).exit_code, 0);
  EXPECT_EQ(fs::last_write_time(run / "images" / "00000-a-red-fox-1.png"), made);
  expect_complete(run, 3);
}

TEST(Rerun, MakesExactlyTheDamagedAgain) {
  TemporaryFolder work;
  write_tiny_spec(work / "run.yaml", 12);
  ASSERT_EQ(backlot(generate_command(), {.folder = work.path()}).exit_code, 0);
  const fs::path run = work / "out" / "run";
  std::map<std::string, std::string> before;
  const Json manifest = read_manifest(run);
  for (const auto& item : manifest["items"]) before[item["output"]] = item["started"];
  std::set<std::string> damaged;
  for (size_t i : {1, 5, 9}) {
    const std::string output = manifest["items"][i]["output"];
    std::string bytes = read_file(run / output);
    bytes[bytes.size() / 2] ^= 1;
    std::ofstream(run / output, std::ios::binary) << bytes;
    damaged.insert(output);
  }
  fs::remove(run / manifest["items"][11]["output"].get<std::string>());
  damaged.insert(manifest["items"][11]["output"]);
  ASSERT_EQ(backlot(generate_command(), {.folder = work.path()}).exit_code, 0);
  expect_complete(run, 12);
  const Json again = read_manifest(run);
  for (const auto& item : again["items"]) {
    const std::string output = item["output"];
    EXPECT_EQ(item["started"].get<std::string>() != before[output], damaged.contains(output))
        << output;
  }
}

class Signalled : public ::testing::TestWithParam<std::pair<int, int>> {};

TEST_P(Signalled, StopsWithinFiveSecondsAndGoesOnLater) {
  const auto [signal, code] = GetParam();
  TemporaryFolder work;
  write_tiny_spec(work / "run.yaml", 400, 4);
  const fs::path run = work / "out" / "run";
  std::mt19937 random(static_cast<unsigned>(signal));
  for (int round = 0; round < 4; ++round) {
    const size_t before = files_in(run / "images");
    Process process(with_binary(generate_command()), {.folder = work.path()});
    while (files_in(run / "images") < before + 2 && process.running())
      std::this_thread::sleep_for(5ms);
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 50));
    process.send(signal);
    const auto start = std::chrono::steady_clock::now();
    const auto result = process.wait();
    EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
    EXPECT_EQ(result.exit_code, code) << result.err;
    const Json manifest = read_manifest(run);
    EXPECT_GE(manifest["totals"]["done"].get<size_t>(), before + 2);
    EXPECT_EQ(manifest["totals"]["done"].get<size_t>(), files_in(run / "images"));
  }
  write_tiny_spec(work / "run.yaml", 20, 4);
  EXPECT_EQ(backlot(generate_command(), {.folder = work.path()}).exit_code, 0);
  expect_complete(run, 20);
}

INSTANTIATE_TEST_SUITE_P(Each, Signalled,
                         ::testing::Values(std::pair{SIGINT, 130}, std::pair{SIGTERM, 143},
                                           std::pair{SIGHUP, 143}));

TEST(SecondSignal, EndsAtOnceAndLosesNothing) {
  TemporaryFolder work;
  // Steps enough that the batch in hand can't end by itself.
  write_tiny_spec(work / "run.yaml", 8, 900);
  Process process(with_binary(generate_command()), {.folder = work.path()});
  while (!fs::exists(work / "out" / "run" / "manifest.json") && process.running())
    std::this_thread::sleep_for(5ms);
  process.send(SIGTERM);
  process.send(SIGTERM);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(process.wait().exit_code, 143);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 2s);
  write_tiny_spec(work / "run.yaml", 8);
  EXPECT_EQ(backlot(generate_command(), {.folder = work.path()}).exit_code, 0);
  expect_complete(work / "out" / "run", 8);
}

TEST(TwoProcesses, TheSecondSaysSoAndStops) {
  TemporaryFolder work;
  write_tiny_spec(work / "run.yaml", 400);
  Process first(with_binary(generate_command()), {.folder = work.path()});
  const fs::path run = work / "out" / "run";
  while (files_in(run / "images") < 1 && first.running()) std::this_thread::sleep_for(10ms);
  const auto second = backlot(generate_command(), {.folder = work.path()});
  EXPECT_EQ(second.exit_code, 3);
  EXPECT_NE(second.err.find("another backlot"), std::string::npos) << second.err;
  EXPECT_TRUE(first.running());
  first.send(SIGTERM);
  first.wait();
}

TEST(DiskFull, EndsWithItsCodeAndGoesOnWhenThereIsRoom) {
  TemporaryFolder work;
  write_tiny_spec(work / "run.yaml", 40);
  SmallDisk disk(work / "out", "size=128k");
  if (!disk.mounted()) GTEST_SKIP() << "mounting a small file system needs the privilege to mount";
  const std::string filler(72 << 10, 'x');
  std::ofstream(work / "out" / "filler") << filler;
  const auto full = backlot(generate_command(), {.folder = work.path()});
  EXPECT_EQ(full.exit_code, 3) << full.err;
  EXPECT_NE(full.err.find("No space left"), std::string::npos) << full.err;
  for (const auto& entry : fs::recursive_directory_iterator(work / "out"))
    EXPECT_FALSE(is_temporary_name(entry.path())) << entry.path();
  fs::remove(work / "out" / "filler");
  ASSERT_EQ(::mount("tmpfs", (work / "out").c_str(), "tmpfs", MS_REMOUNT, "size=4m"), 0);
  const auto later = backlot(generate_command(), {.folder = work.path()});
  EXPECT_EQ(later.exit_code, 0) << later.err;
  expect_complete(work / "out" / "run", 40);
}

TEST(ReadOnlyOutput, IsSaidBeforeAnythingIsMade) {
  TemporaryFolder work;
  write_tiny_spec(work / "run.yaml", 2);
  SmallDisk disk(work / "out", "size=1m");
  if (!disk.mounted()) GTEST_SKIP() << "mounting a small file system needs the privilege to mount";
  ASSERT_EQ(::mount("tmpfs", (work / "out").c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, "size=1m"),
            0);
  const auto result = backlot(generate_command(), {.folder = work.path()});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_NE(result.err.find("Read-only"), std::string::npos) << result.err;
}

TEST(ClosedPipes, DoNotStopARun) {
  TemporaryFolder work;
  write_tiny_spec(work / "run.yaml", 10);
  const std::string command = std::string(BACKLOT_BINARY) +
                              " generate run.yaml --device cpu --dtype float32 --progress plain";
  run_program({"bash", "-c", command + " 2>&1 | head -c 1 >/dev/null"}, {.folder = work.path()});
  expect_complete(work / "out" / "run", 10);
}

TEST(FullLog, DoesNotStopARun) {
  TemporaryFolder work;
  write_tiny_spec(work / "run.yaml", 4);
  const std::string command = std::string(BACKLOT_BINARY) +
                              " generate run.yaml --device cpu --dtype float32 --progress plain";
  const auto result =
      run_program({"bash", "-c", command + " 2>/dev/full"}, {.folder = work.path()});
  EXPECT_EQ(result.exit_code, 0);
  expect_complete(work / "out" / "run", 4);
}

TEST(UnwritableResults, AreNoSuccess) {
  TemporaryFolder work;
  write_tiny_spec(work / "run.yaml", 1);
  const std::string command = std::string(BACKLOT_BINARY) +
                              " generate run.yaml --device cpu --dtype float32 --progress off";
  const auto result = run_program({"bash", "-c", command + " >/dev/full"}, {.folder = work.path()});
  EXPECT_EQ(result.exit_code, 3) << result.err;
  expect_complete(work / "out" / "run", 1);
}

}  // namespace
}  // namespace backlot
