#include "run/space_guard.h"

#include <gtest/gtest.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "run/fake_run.h"
#include "run/worker_store.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

uint64_t each(const Plan& plan) { return fake::bytes_of(plan.items[0]).size(); }

// Makes pending items until there is no room, and returns the error's line.
std::string make_until_full(RunFolder& run) {
  try {
    fake::finish(run);
  } catch (const EnvironmentError& error) {
    EXPECT_EQ(error.code(), ExitCode::environment);
    return error.what();
  }
  return "";
}

TEST(SpaceGuard, StopsBeforeTheOutputThatWouldGoBeyondTheQuota) {
  TemporaryFolder folder;
  Plan plan = fake::plan(10);
  plan.output.quota = 4 * each(plan) + 1;
  {
    RunFolder run = fake::open(folder / "run", plan);
    const std::string error = make_until_full(run);
    EXPECT_NE(error.find(std::to_string(*plan.output.quota)), std::string::npos) << error;
    EXPECT_NE(error.find("--quota"), std::string::npos) << error;
    EXPECT_EQ(run.totals().done, 4);
  }
  {
    // What is there already counts; the same quota is used up at once.
    RunFolder run = fake::open(folder / "run", plan);
    EXPECT_NE(make_until_full(run), "");
    EXPECT_EQ(run.totals().done, 4);
  }
  plan.output.quota = 10 * each(plan);
  RunFolder run = fake::open(folder / "run", plan);
  EXPECT_EQ(make_until_full(run), "");
  EXPECT_EQ(run.totals().done, 10);
}

TEST(SpaceGuard, CountsAReplacedOutputOnce) {
  TemporaryFolder folder;
  Plan plan = fake::plan(3);
  plan.output.quota = 3 * each(plan);
  {
    RunFolder run = fake::open(folder / "run", plan);
    fake::finish(run);
  }
  // Same size, other bytes: the next start makes it again, in the place of the damaged one.
  write_file_durably(folder / "run" / plan.items[1].output, std::string(each(plan), 'x'));
  RunFolder run = fake::open(folder / "run", plan);
  EXPECT_EQ(make_until_full(run), "");
  EXPECT_EQ(run.totals().done, 3);
}

TEST(SpaceGuard, IsSharedByWorkers) {
  TemporaryFolder folder;
  Plan plan = fake::plan(40);
  plan.output.quota = 20 * each(plan);
  RunFolder run = fake::open(folder / "run", plan);
  std::vector<pid_t> workers;
  for (size_t w = 0; w < 4; ++w) {
    workers.push_back(::fork());
    if (workers.back() != 0) continue;
    int made = 0;
    try {
      WorkerStore store(folder / "run", fmt::format("cpu-{}", w), [](const Record&) {});
      store.limit_space({plan.output.quota, {}});
      for (size_t i = w; i < plan.items.size(); i += 4) {
        store.write_output(plan.items[i], fake::bytes_of(plan.items[i]));
        ++made;
      }
    } catch (const EnvironmentError&) {
    }
    ::_exit(made);
  }
  int made = 0;
  for (const pid_t worker : workers) {
    int status = 0;
    ::waitpid(worker, &status, 0);
    made += WEXITSTATUS(status);
  }
  EXPECT_EQ(made, 20);
}

TEST(SpaceGuard, LeavesSomeOfTheDiskFree) {
  TemporaryFolder folder;
  struct statvfs disk {};
  ASSERT_EQ(::statvfs(folder.path().c_str(), &disk), 0);
  Plan plan = fake::plan(2);
  plan.output.min_free = uint64_t{disk.f_blocks} * disk.f_frsize;
  {
    RunFolder run = fake::open(folder / "run", plan);
    const std::string error = make_until_full(run);
    EXPECT_NE(error.find("No space left"), std::string::npos) << error;
    EXPECT_NE(error.find("--min-free"), std::string::npos) << error;
    EXPECT_EQ(run.totals().done, 0);
  }
  plan.output.min_free = 0;
  RunFolder run = fake::open(folder / "run", plan);
  EXPECT_EQ(make_until_full(run), "");
}

}  // namespace
}  // namespace backlot
