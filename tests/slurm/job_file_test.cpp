// journal/slurm.json, and the locks beside it.
#include "slurm/job_file.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <fstream>

#include "base/error.h"
#include "slurm/outside_program.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

class JobFile : public ::testing::Test {
 protected:
  JobFile() { fs::create_directories(folder / "journal"); }
  TemporaryFolder folder;
  RootedFolder root{folder.path()};
};

TEST_F(JobFile, KnowsAfterAnyKillWhatWasBegun) {
  EXPECT_EQ(SlurmJobFile(root).open_round(), nullptr);
  SlurmRound begun;
  {
    SlurmJobFile file(root);
    begun = file.begin("Fruit sheet", 4, {1, 3});
  }
  EXPECT_TRUE(begun.name.starts_with("fruit-sheet-") && begun.name.ends_with("-1")) << begun.name;
  {
    SlurmJobFile file(root);
    ASSERT_NE(file.open_round(), nullptr);
    EXPECT_EQ(*file.open_round(), begun);
    EXPECT_EQ(file.open_round()->job, "");
    file.set_job("12");
  }
  {
    SlurmJobFile file(root);
    EXPECT_EQ(file.open_round()->job, "12");
    file.end_round();
    EXPECT_EQ(file.open_round(), nullptr);
  }
  SlurmJobFile file(root);
  EXPECT_EQ(file.open_round(), nullptr);
  // A second round's name is another, a second run's too.
  const std::string second = file.begin("Fruit sheet", 4, {3}).name;
  EXPECT_EQ(second, begun.name.substr(0, begun.name.size() - 1) + "2");
}

TEST_F(JobFile, ARoundThatWasNeverSubmittedLeavesNothing) {
  SlurmJobFile(root).begin("run", 2, {1});
  SlurmJobFile file(root);
  file.drop_round();
  EXPECT_EQ(SlurmJobFile(root).open_round(), nullptr);
}

TEST_F(JobFile, DamageIsAnErrorAndNoNewSubmission) {
  for (const std::string text : {"", "{", "[]", R"({"version": 1, "token": "x"})",
                                 R"({"version": 9, "token": "x", "rounds": []})"}) {
    std::ofstream(folder / "journal" / "slurm.json") << text;
    EXPECT_THROW(SlurmJobFile{root}, EnvironmentError) << text;
  }
}

TEST_F(JobFile, TheLockStaysWithAProgramThatInheritsIt) {
  SlurmLock second(root, "slurm-submit.lock");
  ASSERT_TRUE(second.held());
  {
    const SlurmLock other(root, "slurm-submit.lock");
    EXPECT_FALSE(other.held());
  }
  // What sbatch does when backlot is killed: it outlives it, and keeps the lock.
  ProgramOptions options;
  {
    SlurmLock first(root, "other.lock");
    options.inherited = first.descriptor();
    const auto result = run_outside(
        {"sh", "-c", "(while [ ! -e \"$1\" ]; do sleep 0.01; done) >/dev/null 2>&1 & echo started",
         "sh", (folder / "go").string()},
        options);
    EXPECT_EQ(result.out, "started\n");
  }
  SlurmLock later(root, "other.lock");
  EXPECT_FALSE(later.held());
  std::ofstream(folder / "go") << "";
  for (int i = 0; i < 1000 && !later.try_again(); ++i) ::usleep(10000);
  EXPECT_TRUE(later.held());
}

}  // namespace
}  // namespace backlot
