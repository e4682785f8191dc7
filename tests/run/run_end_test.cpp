// How a run ends: with a manifest that is true, and a success only if all of it is there.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "base/error.h"
#include "run/fake_run.h"
#include "run/worker_store.h"
#include "support/run_dir.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

std::string refusal(RunFolder& run) {
  try {
    run.insist_on_outputs();
  } catch (const EnvironmentError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

// A run of 6 items, to which something happens once they are made.
struct RunAtItsEnd {
  std::string after(const std::function<void()>& happens) {
    fake::finish(run);
    EXPECT_EQ(refusal(run), "nothing was thrown");
    happens();
    return refusal(run);
  }
  fs::path output(size_t item) const { return folder / plan.items[item].output; }

  TemporaryFolder scratch;
  fs::path folder = scratch / "run";
  Plan plan = fake::plan(6);
  RunFolder run = fake::open(folder, plan);
};

TEST(RunEnd, MissesOutputsThatAreGoneOrCutShort) {
  RunAtItsEnd end;
  const std::string line = end.after([&] {
    fs::remove(end.output(1));
    fs::resize_file(end.output(4), 3);
  });
  EXPECT_TRUE(line.starts_with(end.folder.string() + ": 2 finished item(s)")) << line;
  EXPECT_NE(line.find(end.plan.items[1].output), std::string::npos) << line;
  end.run.write_manifest();
  EXPECT_EQ(read_manifest(end.folder)["totals"]["done"], 4);
  EXPECT_EQ(end.run.pending().size(), 2u);
  fake::finish(end.run);
  EXPECT_EQ(refusal(end.run), "nothing was thrown");
  expect_complete(end.folder, 6);
}

TEST(RunEnd, MissesTheJournal) {
  RunAtItsEnd end;
  const std::string line = end.after([&] { fs::remove(end.folder / "journal" / "main.jsonl"); });
  EXPECT_NE(line.find("6 finished item(s)"), std::string::npos) << line;
}

TEST(RunEnd, MissesTheFolder) {
  RunAtItsEnd moved, removed;
  EXPECT_NE(moved.after([&] { fs::rename(moved.folder, moved.scratch / "elsewhere"); })
                .find("6 finished item(s)"),
            std::string::npos);
  EXPECT_NE(removed.after([&] { fs::remove_all(removed.folder); }).find("6 finished item(s)"),
            std::string::npos);
}

TEST(RunEnd, ByForceLeavesWhatJournalsHaveInTheManifest) {
  TemporaryFolder scratch;
  const Plan plan = fake::plan(6);
  const fs::path folder = scratch / "run";
  const pid_t child = ::fork();
  if (child == 0) {
    RunFolder run = fake::open(folder, plan);
    fake::make(run, plan.items[0]);
    // A worker's, of which nobody told; the second has lost its output again.
    WorkerStore worker(folder, "cpu-0", [](const Record&) {});
    for (const size_t i : {1, 2}) {
      const auto file = worker.write_output(plan.items[i], fake::bytes_of(plan.items[i]));
      worker.record_done(plan.items[i], file, 128, 128, fake::attempt());
    }
    fs::remove(folder / plan.items[2].output);
    worker.record_failed(plan.items[3], "it could not", fake::attempt());
    run.write_last_manifest();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  const Json manifest = read_manifest(folder);
  EXPECT_EQ(manifest["totals"]["done"], 2);
  EXPECT_EQ(manifest["items"][1]["status"], "done");
  EXPECT_EQ(manifest["items"][2]["status"], "pending");
  EXPECT_EQ(manifest["items"][3]["error"], "it could not");
}

}  // namespace
}  // namespace backlot
