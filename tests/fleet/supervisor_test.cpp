// The supervisor and its workers as processes: killed, stopped, crashed and asked to stop.
#include "fleet/supervisor.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <map>
#include <random>
#include <thread>

#include "fleet/hang_watch.h"
#include "support/command.h"
#include "support/run_dir.h"
#include "support/temporary_folder.h"
#include "support/tiny_runs.h"

namespace backlot {
namespace {

using namespace std::chrono_literals;

std::vector<std::string> fleet(const fs::path& run, int items, const std::string& devices,
                               int attempts = 3) {
  return {
      FLEET_FAKE, "run", run.string(), std::to_string(items), devices, std::to_string(attempts)};
}

CommandResult run_fleet(const fs::path& run, int items, const std::string& devices,
                        const std::map<std::string, std::string>& environment = {}) {
  return run_program(fleet(run, items, devices), {.environment = environment});
}

size_t pictures_in(const fs::path& run) { return files_in(run / "images"); }

void expect_each_once(const fs::path& run, size_t items) {
  expect_complete(run, items);
  const auto lines = times_done(run);
  EXPECT_EQ(lines.size(), items);
  for (const auto& [id, count] : lines) EXPECT_EQ(count, 1) << id;
}

TEST(Fleet, MakesEveryItemOnceOverSeveralWorkers) {
  TemporaryFolder work;
  const auto result = run_fleet(work / "run", 200, "cpu,cpu,cpu");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  expect_each_once(work / "run", 200);
  EXPECT_TRUE(fs::exists(work / "run" / "journal" / "cpu-2.jsonl"));
}

TEST(Fleet, ARerunMakesNothing) {
  TemporaryFolder work;
  ASSERT_EQ(run_fleet(work / "run", 20, "cpu").exit_code, 0);
  ASSERT_EQ(run_fleet(work / "run", 20, "cpu").exit_code, 0);
  expect_each_once(work / "run", 20);
}

// The acceptance figure: 200 workers and 20 supervisors.
TEST(Fleet, LosesNothingAndRepeatsNothingWhileWorkersAndSupervisorsAreKilled) {
  TemporaryFolder work;
  const fs::path run = work / "run";
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr int items = 200, kills = 30, lives = 4;
#else
  constexpr int items = 1000, kills = 200, lives = 20;
#endif
  std::mt19937 random(20260721);
  int worker_kills = 0, supervisor_kills = 0;
  while (worker_kills < kills || supervisor_kills < lives) {
    Process supervisor(fleet(run, items, "cpu,cpu", 1000));
    const size_t before = pictures_in(run);
    const int kills_here = 5 + static_cast<int>(random() % 10);
    for (int kill = 0; kill < kills_here && supervisor.running();) {
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 8000));
      const auto workers = children_of(supervisor.pid());
      if (workers.empty()) continue;
      ::kill(workers[random() % workers.size()], SIGKILL);
      ++worker_kills;
      ++kill;
    }
    supervisor.send(SIGKILL);
    ++supervisor_kills;
    supervisor.wait();
    EXPECT_GE(pictures_in(run), before) << "a kill took finished pictures along";
    if (fs::exists(run / "manifest.json")) {
      EXPECT_NO_THROW(read_manifest(run));
    }
    if (pictures_in(run) == items) break;
  }
  EXPECT_GE(worker_kills, kills / 2) << "too fast a machine for so few items";
  const auto last = run_fleet(run, items, "cpu,cpu");
  EXPECT_EQ(last.exit_code, 0) << last.err;
  expect_each_once(run, items);
}

class Fault : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(Fault, OfOneItemFailsThatItemAlone) {
  const auto& [kind, reason] = GetParam();
  TemporaryFolder work;
  const auto result = run_fleet(work / "run", 60, "cpu,cpu",
                                {{"BACKLOT_FAULT", std::string(kind) + "@17"},
                                 {"FLEET_FAKE_HANG", std::string(kind) == "hang" ? "1" : "60"}});
  EXPECT_EQ(result.exit_code, 1) << result.err;
  const Json manifest = read_manifest(work / "run");
  EXPECT_EQ(manifest["totals"]["done"], 59);
  const Json& item = manifest["items"][17];
  EXPECT_EQ(item["status"], "failed");
  EXPECT_NE(item["error"].get<std::string>().find(reason), std::string::npos) << item["error"];
  EXPECT_GE(item["attempts"].get<int>(), 2);

  // Mended, it is made, and only it.
  ASSERT_EQ(run_fleet(work / "run", 60, "cpu,cpu").exit_code, 0);
  expect_each_once(work / "run", 60);
}

INSTANTIATE_TEST_SUITE_P(Kinds, Fault,
                         testing::Values(std::pair("segfault", "ended two workers: cpu-"),
                                         std::pair("abort", "signal 6"),
                                         std::pair("exit", "exit code 97"),
                                         std::pair("kill", "ended at each of 3 attempts"),
                                         std::pair("error", "a fault on purpose"),
                                         std::pair("hang", "no sign of life for 1 s")),
                         [](const auto& info) { return std::string(info.param.first); });

TEST(Fleet, ManyBadItemsAtItsHeadKeepNothingElseWaiting) {
  TemporaryFolder work;
  std::string faults;
  for (int i = 0; i < 12; ++i) faults += "segfault@" + std::to_string(i) + ",";
  const auto result = run_fleet(work / "run", 40, "cpu", {{"BACKLOT_FAULT", faults}});
  EXPECT_EQ(result.exit_code, 1) << result.err;
  const Json totals = read_manifest(work / "run")["totals"];
  EXPECT_EQ(totals["done"], 28);
  EXPECT_EQ(totals["failed"], 12);
}

TEST(Fleet, AStoppedWorkerIsFoundAndItsItemsAreMadeElsewhere) {
  TemporaryFolder work;
  Process supervisor(fleet(work / "run", 300, "cpu,cpu"),
                     {.environment = {{"FLEET_FAKE_HANG", "1"}}});
  while (supervisor.running() && pictures_in(work / "run") < 20) std::this_thread::sleep_for(1ms);
  const auto workers = children_of(supervisor.pid());
  ASSERT_FALSE(workers.empty());
  ::kill(workers.front(), SIGSTOP);
  const auto result = supervisor.wait();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.err.find("no sign of life"), std::string::npos) << result.err;
  expect_each_once(work / "run", 300);
}

TEST(Fleet, ADeviceThatNeverStartsIsSetAside) {
  TemporaryFolder work;
  const auto result = run_fleet(work / "run", 40, "cuda:9,cpu");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  expect_each_once(work / "run", 40);
}

TEST(Fleet, WithoutAnyDeviceThatWorksItSaysWhy) {
  TemporaryFolder work;
  const auto result = run_fleet(work / "run", 40, "cuda:9");
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_NE(result.err.find("error: cuda:9: fell off the bus; replace it"), std::string::npos)
      << result.err;
  EXPECT_EQ(read_manifest(work / "run")["totals"]["pending"], 40);
}

TEST(Fleet, ADamagedModelStopsTheRunWithItsReason) {
  TemporaryFolder work;
  const auto result = run_fleet(work / "run", 40, "cpu,cpu", {{"FLEET_FAKE_NO_MODEL", "1"}});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_NE(result.err.find("error: /models/flat: is damaged; mend it"), std::string::npos)
      << result.err;
}

TEST(Fleet, OnSigtermItEndsWhatIsInHandAndResumesLater) {
  TemporaryFolder work;
  Process supervisor(fleet(work / "run", 2000, "cpu,cpu"));
  while (supervisor.running() && pictures_in(work / "run") < 30) std::this_thread::sleep_for(1ms);
  supervisor.send(SIGTERM);
  const auto result = supervisor.wait();
  EXPECT_EQ(result.exit_code, 143) << result.err;
  const Json manifest = read_manifest(work / "run");
  EXPECT_EQ(manifest["totals"]["failed"], 0);
  EXPECT_EQ(manifest["totals"]["done"].get<size_t>(), pictures_in(work / "run"));
  EXPECT_EQ(manifest["totals"]["done"].get<size_t>(), times_done(work / "run").size());
  const auto rest = run_fleet(work / "run", 2000, "cpu,cpu");
  ASSERT_EQ(rest.exit_code, 0) << rest.err;
  expect_each_once(work / "run", 2000);
}

// As a service manager stops a group of processes, and timeout(1) its children.
TEST(Fleet, WorkersThatAreAskedToStopWithItAreNoLossToSpeakOf) {
  TemporaryFolder work;
  Process supervisor(fleet(work / "run", 2000, "cpu,cpu"));
  while (supervisor.running() && pictures_in(work / "run") < 30) std::this_thread::sleep_for(1ms);
  const auto workers = children_of(supervisor.pid());
  supervisor.send(SIGTERM);
  for (const pid_t pid : workers) ::kill(pid, SIGTERM);
  const auto result = supervisor.wait();
  EXPECT_EQ(result.exit_code, 143) << result.err;
  EXPECT_EQ(result.err.find("warning"), std::string::npos) << result.err;
  EXPECT_EQ(result.err.find("exit code 143"), std::string::npos) << result.err;
  EXPECT_EQ(read_manifest(work / "run")["totals"]["failed"], 0);
}

// A worker hangs, so that nothing but the second signal can end the run before its grace is over.
TEST(Fleet, ASecondSignalEndsItAtOnceWithATrueManifest) {
  TemporaryFolder work;
  const fs::path run = work / "run";
  Process supervisor(fleet(run, 2000, "cpu,cpu"), {.environment = {{"BACKLOT_FAULT", "hang@40"}}});
  while (supervisor.running() && pictures_in(run) < 60) std::this_thread::sleep_for(1ms);
  // Those that come within a moment of the first are the same request.
  while (supervisor.running()) {
    supervisor.send(SIGTERM);
    std::this_thread::sleep_for(20ms);
  }
  const auto result = supervisor.wait();
  EXPECT_EQ(result.exit_code, 143) << result.err;
  EXPECT_NE(result.err.find(" made\n"), std::string::npos) << "no summary: " << result.err;
  const Json manifest = read_manifest(run);
  EXPECT_EQ(manifest["totals"]["done"].get<size_t>(), times_done(run).size());
  EXPECT_GE(times_done(run).size(), 56u);
  for (const auto& entry : fs::recursive_directory_iterator(run))
    EXPECT_FALSE(is_temporary_name(entry.path())) << entry.path();
}

// What stops writes may also keep half-written files from being removed.
TEST(Fleet, AnOutputFolderThatIsTakenAwayLeavesATrueManifest) {
  TemporaryFolder work;
  const fs::path run = work / "run";
  Process supervisor(fleet(run, 2000, "cpu,cpu"));
  while (supervisor.running() && pictures_in(run) < 20) std::this_thread::sleep_for(1ms);
  fs::rename(run / "images", work / "images");
  fs::create_directory_symlink(work / "images", run / "images");
  const auto result = supervisor.wait();
  EXPECT_EQ(result.exit_code, 3) << result.err;
  EXPECT_GE(times_done(run).size(), 20u);
  EXPECT_EQ(read_manifest(run)["totals"]["done"].get<size_t>(), times_done(run).size());
}

TEST(Fleet, OutputsThatAreTakenAwayBehindItAreNoSuccess) {
  TemporaryFolder work;
  const fs::path run = work / "run";
  Process supervisor(fleet(run, 400, "cpu,cpu"));
  while (supervisor.running() && pictures_in(run) < 20) std::this_thread::sleep_for(1ms);
  size_t removed = 0;
  for (const auto& entry : fs::directory_iterator(run / "images"))
    if (!is_temporary_name(entry.path()) && removed < 5) removed += fs::remove(entry.path());
  const auto result = supervisor.wait();
  EXPECT_EQ(result.exit_code, 3) << result.err;
  EXPECT_NE(result.err.find("5 finished item(s) lost their output"), std::string::npos)
      << result.err;
  EXPECT_EQ(read_manifest(run)["totals"]["done"], 395);
  ASSERT_EQ(run_fleet(run, 400, "cpu,cpu").exit_code, 0);
  expect_complete(run, 400);
}

TEST(Fleet, WorkersGoWithTheirSupervisor) {
  TemporaryFolder work;
  Process supervisor(fleet(work / "run", 5000, "cpu,cpu"));
  while (supervisor.running() && pictures_in(work / "run") < 10) std::this_thread::sleep_for(1ms);
  const auto workers = children_of(supervisor.pid());
  ASSERT_EQ(workers.size(), 2u);
  supervisor.send(SIGKILL);
  supervisor.wait();
  for (const pid_t pid : workers) {
    int waited = 0;
    while (::kill(pid, 0) == 0 && ++waited < 2000) std::this_thread::sleep_for(1ms);
    EXPECT_NE(::kill(pid, 0), 0) << "worker " << pid << " outlived its supervisor";
  }
}

TEST(HangWatch, TakesItsDeadlineFromWhatWasSeen) {
  HangWatch hangs(900);
  EXPECT_EQ(hangs.deadline("cpu denoise"), 900);
  hangs.heard("cpu denoise", 0.1);
  EXPECT_EQ(hangs.deadline("cpu denoise"), HangWatch::least_seconds);
  hangs.heard("cpu denoise", 3);
  hangs.heard("cpu denoise", 1);
  EXPECT_EQ(hangs.deadline("cpu denoise"), 3 * HangWatch::margin);
  EXPECT_EQ(hangs.deadline("cuda denoise"), 900);
  hangs.heard("cpu denoise", 500);
  EXPECT_EQ(hangs.deadline("cpu denoise"), 900) << "never more than is borne at all";
}

TEST(WorkerNames, AreUniqueAndSayTheDevice) {
  EXPECT_EQ(worker_names({"cpu", "cuda:1", "cpu"}),
            (std::vector<std::string>{"cpu-0", "cuda1-0", "cpu-1"}));
}

}  // namespace
}  // namespace backlot
