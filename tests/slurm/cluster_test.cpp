// fleet-run on a real Slurm: munged, slurmctld and slurmd, started for these tests alone.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <memory>
#include <set>
#include <sstream>
#include <thread>

#include "support/command.h"
#include "support/run_dir.h"
#include "support/temporary_folder.h"
#include "support/tiny_runs.h"

namespace backlot {
namespace {

using namespace std::chrono_literals;

const std::string helper = std::string(BACKLOT_SOURCE_DIR) + "/tests/support/slurm.sh";

bool wait_until(const std::function<bool()>& holds, std::chrono::seconds patience = 60s) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(20ms);
  }
  return true;
}

class Cluster : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const auto available = run_program({helper, "available"});
    why_not = available.exit_code == 0 ? "" : "no Slurm for tests: " + available.out;
    if (!why_not.empty()) return;
    daemons = std::make_unique<TemporaryFolder>();
    const auto started = run_program({helper, "start", daemons->path().string()});
    ASSERT_EQ(started.exit_code, 0) << started.err;
    ::setenv("SLURM_CONF", (*daemons / "slurm.conf").c_str(), 1);
  }
  static void TearDownTestSuite() {
    if (daemons) run_program({helper, "stop", daemons->path().string()});
    daemons.reset();
  }
  void SetUp() override {
    if (!why_not.empty()) GTEST_SKIP() << why_not;
  }
  void TearDown() override {
    if (daemons) run_program({"scancel", "--signal=KILL", "--full", "--me"});
  }

  static void control(const std::string& what) {
    const auto done = run_program({helper, what, daemons->path().string()});
    ASSERT_EQ(done.exit_code, 0) << done.err;
  }

  // More steps: items that take long enough for something to happen to them.
  void write_spec(int count, int steps = 2) { write_tiny_spec(work / "run.yaml", count, steps); }
  static std::vector<std::string> command(int tasks, std::vector<std::string> more = {}) {
    std::vector<std::string> words = with_binary(
        {"fleet-run", "run.yaml", "--engine", "slurm", "--devices", "cpu", "--tasks",
         std::to_string(tasks), "--dtype", "float32", "--threads", "1", "--batch-size", "1"});
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  CommandResult run(const std::vector<std::string>& words) {
    return run_program(words, {.folder = work.path()});
  }
  std::unique_ptr<Process> start(const std::vector<std::string>& words) {
    return std::make_unique<Process>(words, CommandOptions{.folder = work.path()});
  }

  fs::path folder() const { return work / "out" / "run"; }
  std::vector<Json> rounds() const {
    const Json file =
        Json::parse(std::ifstream(folder() / "journal" / "slurm.json"), nullptr, false);
    if (!file.is_object()) return {};
    return file["rounds"].get<std::vector<Json>>();
  }
  std::string job() const {
    const auto all = rounds();
    return all.empty() || all.back()["job"].is_null() ? "" : all.back()["job"].get<std::string>();
  }
  size_t done() const { return times_done(folder()).size(); }
  void expect_each_once(size_t items) const {
    expect_complete(folder(), items);
    const auto lines = times_done(folder());
    EXPECT_EQ(lines.size(), items);
    for (const auto& [id, count] : lines) EXPECT_EQ(count, 1) << id;
  }
  // All array jobs that slurmctld has seen under the run's names.
  static std::string jobs_seen() {
    return run_program({"squeue", "--noheader", "--states=all", "--format=%F %j"}).out;
  }
  size_t jobs_of_this_run() const {
    std::set<std::string> numbers;
    std::istringstream seen(jobs_seen());
    const std::string name = rounds().front()["name"];
    for (std::string number, job_name; seen >> number >> job_name;)
      if (job_name.starts_with(name.substr(0, name.size() - 1))) numbers.insert(number);
    return numbers.size();
  }

  TemporaryFolder work;
  static inline std::unique_ptr<TemporaryFolder> daemons;
  static inline std::string why_not;
};

TEST_F(Cluster, TheSubmitterHasTextsMadeForItsTasks) {
  write_enhanced_spec(work / "run.yaml", 4);
  const auto result = run(command(2));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.err.find("4 prompt(s) enhanced"), std::string::npos) << result.err;
  expect_each_once(4);
  for (const auto& item : read_manifest(folder())["items"])
    EXPECT_GT(item["enhancement"]["tokens"], 0) << item;
}

TEST_F(Cluster, FourShardsAreMadeByFourTasks) {
  write_spec(24);
  const auto result = run(command(4, {"--json"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(Json::parse(result.out)["done"], 24);
  expect_each_once(24);
  ASSERT_EQ(rounds().size(), 1u);
  for (int task = 1; task <= 4; ++task)
    EXPECT_TRUE(fs::exists(folder() / "journal" /
                           ("slurm-" + job() + "_" + std::to_string(task) + ".log")));
  // What is all there is not submitted again; of what is gone, only its shard.
  ASSERT_EQ(run(command(4)).exit_code, 0);
  EXPECT_EQ(rounds().size(), 1u);
  const Json manifest = read_manifest(folder());
  fs::remove(folder() / manifest["items"][6]["output"].get<std::string>());
  const auto mended = run(command(4));
  ASSERT_EQ(mended.exit_code, 0) << mended.err;
  ASSERT_EQ(rounds().size(), 2u);
  EXPECT_EQ(rounds().back()["shards"], Json({3}));
  expect_complete(folder(), 24);
}

TEST_F(Cluster, ACancelledTaskIsRunAgain) {
  write_spec(40, 40);
  const auto process = start(command(2));
  ASSERT_TRUE(wait_until([&] { return done() >= 4; }));
  run_program({"scancel", job() + "_2"});
  const auto result = process->wait();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.err.find("_2 was cancelled"), std::string::npos) << result.err;
  expect_each_once(40);
  ASSERT_EQ(rounds().size(), 2u);
  EXPECT_EQ(rounds().back()["shards"], Json({2}));
}

TEST_F(Cluster, ARequeuedTaskGoesOnWhereItWas) {
  write_spec(40, 40);
  const auto process = start(command(2));
  ASSERT_TRUE(wait_until([&] { return done() >= 4; }));
  const auto requeued = run_program({"scontrol", "requeue", job() + "_1"});
  ASSERT_EQ(requeued.exit_code, 0) << requeued.err;
  const auto result = process->wait();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  expect_each_once(40);
  EXPECT_EQ(rounds().size(), 1u);
}

TEST_F(Cluster, AFollowerThatWasKilledComesBackToItsJob) {
  write_spec(40, 40);
  const auto first = start(command(2));
  ASSERT_TRUE(wait_until([&] { return done() >= 2; }));
  first->send(SIGKILL);
  first->wait();
  const auto second = start(command(2));
  ASSERT_TRUE(wait_until([&] { return done() >= 6; }));
  const auto beside = run(command(2));
  EXPECT_EQ(beside.exit_code, 3);
  EXPECT_NE(beside.err.find("another backlot follows"), std::string::npos) << beside.err;
  second->send(SIGTERM);
  const auto interrupted = second->wait();
  EXPECT_EQ(interrupted.exit_code, 143);
  EXPECT_NE(interrupted.err.find("'scancel " + job() + "' ends it"), std::string::npos)
      << interrupted.err;
  const auto afresh = run(command(2, {"--fresh"}));
  EXPECT_EQ(afresh.exit_code, 2);
  EXPECT_NE(afresh.err.find("goes on"), std::string::npos) << afresh.err;
  const auto last = run(command(2));
  EXPECT_EQ(last.exit_code, 0) << last.err;
  EXPECT_NE(last.err.find("following job " + job()), std::string::npos) << last.err;
  expect_each_once(40);
  EXPECT_EQ(rounds().size(), 1u);
  EXPECT_EQ(jobs_of_this_run(), 1u);
}

// An sbatch that takes its time, before or after it has submitted.
void write_slow_sbatch(const fs::path& folder, bool before) {
  const std::string wait = "touch '" + (folder / "reached").string() + "'; sleep 1\n";
  std::ofstream(folder / "sbatch")
      << "#!/bin/sh\n[ \"$1\" = --version ] && exec /usr/bin/sbatch --version\n"
      << (before ? wait + "exec /usr/bin/sbatch \"$@\"\n" : "/usr/bin/sbatch \"$@\"\n" + wait);
  fs::permissions(folder / "sbatch", fs::perms::owner_all);
}

TEST_F(Cluster, AKillWhileItSubmitsLeavesOneJob) {
  for (const bool before : {true, false}) {
    write_spec(8);
    fs::remove_all(folder());
    TemporaryFolder slow;
    write_slow_sbatch(slow.path(), before);
    const std::string path = slow.path().string() + ":" + ::getenv("PATH");
    Process first(command(2), {.folder = work.path(), .environment = {{"PATH", path}}});
    ASSERT_TRUE(wait_until([&] { return fs::exists(slow / "reached"); }));
    first.send(SIGKILL);
    first.wait();
    EXPECT_EQ(job(), "");
    const auto second = run(command(2));
    EXPECT_EQ(second.exit_code, 0) << second.err;
    expect_each_once(8);
    EXPECT_EQ(rounds().size(), 1u);
    EXPECT_EQ(jobs_of_this_run(), 1u) << jobs_seen();
  }
}

TEST_F(Cluster, AKillJustBeforeItSubmitsLeavesNoJobAndTheNextSubmits) {
  write_spec(8);
  TemporaryFolder never;
  std::ofstream(never / "sbatch")
      << "#!/bin/sh\n[ \"$1\" = --version ] && exec /usr/bin/sbatch --version\n"
      << "touch '" << (never / "reached").string() << "'; sleep 1; exit 1\n";
  fs::permissions(never / "sbatch", fs::perms::owner_all);
  const std::string path = never.path().string() + ":" + ::getenv("PATH");
  Process first(command(2), {.folder = work.path(), .environment = {{"PATH", path}}});
  ASSERT_TRUE(wait_until([&] { return fs::exists(never / "reached"); }));
  first.send(SIGKILL);
  first.wait();
  const auto second = run(command(2));
  EXPECT_EQ(second.exit_code, 0) << second.err;
  expect_each_once(8);
  EXPECT_EQ(jobs_of_this_run(), 1u) << jobs_seen();
}

TEST_F(Cluster, SlurmctldMayBeAwayWhileTasksWork) {
  write_spec(30, 40);
  const auto process = start(command(2));
  ASSERT_TRUE(wait_until([&] { return done() >= 2; }));
  control("pause");
  const bool made = wait_until([&] { return done() == 30; });
  control("resume");
  EXPECT_TRUE(made);
  const auto result = process->wait();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  expect_each_once(30);
  EXPECT_EQ(rounds().size(), 1u);
}

TEST_F(Cluster, TasksThatMakeNothingAreNotTriedForEver) {
  write_spec(4);
  const auto result =
      run_program(command(2, {"--attempts", "2"}),
                  {.folder = work.path(), .environment = {{"BACKLOT_TORCH", "/nowhere"}}});
  EXPECT_EQ(result.exit_code, 3) << result.err;
  EXPECT_EQ(rounds().size(), 2u);
  EXPECT_NE(result.err.find("ended with exit code"), std::string::npos) << result.err;
  EXPECT_EQ(read_manifest(folder())["totals"]["pending"], 4);
  // With what was wrong put right, the same command goes on.
  const auto mended = run(command(2));
  EXPECT_EQ(mended.exit_code, 0) << mended.err;
  expect_each_once(4);
}

TEST_F(Cluster, ARefusalIsToldInSlurmsWordsAndLeavesNothingBehind) {
  write_spec(4);
  const auto refused = run(command(2, {"--slurm-args=--partition=nowhere"}));
  EXPECT_EQ(refused.exit_code, 3);
  EXPECT_NE(refused.err.find("error: sbatch: Batch job submission failed: Invalid partition"),
            std::string::npos)
      << refused.err;
  const auto later = run(command(2));
  EXPECT_EQ(later.exit_code, 0) << later.err;
}

TEST_F(Cluster, WithoutSlurmctldNothingIsSubmitted) {
  write_spec(4);
  control("pause");
  const auto away = run(command(2));
  control("resume");
  EXPECT_EQ(away.exit_code, 3);
  EXPECT_NE(away.err.find("Unable to contact slurm controller"), std::string::npos) << away.err;
  ASSERT_TRUE(wait_until([] { return run_program({"squeue"}).exit_code == 0; }));
  const auto later = run(command(2));
  EXPECT_EQ(later.exit_code, 0) << later.err;
  expect_each_once(4);
  EXPECT_EQ(jobs_of_this_run(), 1u);
}

TEST(WithoutSlurm, ItIsSaidBeforeAnythingIsMade) {
  TemporaryFolder work, empty;
  write_tiny_spec(work / "run.yaml", 1);
  const auto result =
      backlot({"fleet-run", "run.yaml", "--engine", "slurm"},
              {.folder = work.path(), .environment = {{"PATH", empty.path().string()}}});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_NE(result.err.find("error: sbatch: there is no such command here"), std::string::npos)
      << result.err;
  EXPECT_FALSE(fs::exists(work / "out"));
}

}  // namespace
}  // namespace backlot
