// What Slurm's commands print, in the words of real ones.
#include "slurm/client.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>

#include "run/shard.h"
#include "slurm/followed_records.h"
#include "slurm/run.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

TEST(Squeue, LinesOfArrayTasks) {
  const auto tasks = parse_squeue("12|1|RUNNING|None\n12|3|PENDING|BeginTime\n");
  ASSERT_EQ(tasks.size(), 2u);
  EXPECT_EQ(tasks[0], (SlurmTask{"12", 1, "RUNNING", "None"}));
  EXPECT_EQ(tasks[1], (SlurmTask{"12", 3, "PENDING", "BeginTime"}));
}

TEST(Squeue, OtherLinesArePassedOver) {
  EXPECT_TRUE(parse_squeue("").empty());
  EXPECT_TRUE(parse_squeue("CLUSTER: other\n9|N/A|RUNNING|None\n\n12|1\n").empty());
}

TEST(Task, EndsOnlyInStatesThatSlurmDoesNotLeave) {
  for (const char* state : {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL",
                            "OUT_OF_MEMORY", "PREEMPTED", "BOOT_FAIL", "DEADLINE"})
    EXPECT_TRUE(has_ended({"1", 1, state, "None"})) << state;
  for (const char* state : {"PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED",
                            "REQUEUE_HOLD", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT"})
    EXPECT_FALSE(has_ended({"1", 1, state, "None"})) << state;
}

TEST(Sacct, TheLastLineCounts) {
  const auto end = parse_sacct("NODE_FAIL|1:0\nCANCELLED by 1000|0:15\n");
  ASSERT_TRUE(end);
  EXPECT_EQ(end->state, "CANCELLED");
  EXPECT_EQ(end->signal, 15);
  EXPECT_FALSE(parse_sacct(""));
  EXPECT_FALSE(parse_sacct("Slurm accounting storage is disabled\n"));
}

TEST(Scontrol, StateAndExitCode) {
  const auto end = parse_scontrol(
      "JobId=4 ArrayJobId=2 ArrayTaskId=2 JobName=x UserId=root(0) JobState=FAILED Reason=None "
      "Requeue=1 Restarts=0 BatchFlag=1 Reboot=0 ExitCode=143:0 RunTime=00:00:01\n");
  ASSERT_TRUE(end);
  EXPECT_EQ(end->state, "FAILED");
  EXPECT_EQ(end->exit_code, 143);
  EXPECT_FALSE(parse_scontrol("slurm_load_jobs error: Invalid job id specified\n"));
}

TEST(Submission, TaskKMakesShardK) {
  for (int64_t shards = 1; shards <= 7; ++shards)
    for (int64_t index = 0; index < 20; ++index) {
      Item item;
      item.index = index;
      const Shard shard{shard_of(item, shards), shards};
      EXPECT_TRUE(shard.owns(item)) << index << " in " << to_string(shard);
    }
}

TEST(Submission, ArraysAreWrittenAsRanges) {
  EXPECT_EQ(array_text({1}), "1");
  EXPECT_EQ(array_text({1, 2, 3, 5, 7, 8}), "1-3,5,7-8");
}

TEST(Submission, TheScriptQuotesWhatAShellWouldRead) {
  SlurmSettings settings;
  settings.tasks = 8;
  settings.command = {"/opt/back lot", "fleet-run", "it's.yaml", "--set=name=$HOME"};
  EXPECT_EQ(task_script(settings),
            "#!/bin/sh\n"
            "# Written by backlot: what each task of the run's array job does.\n"
            "exec '/opt/back lot' fleet-run 'it'\\''s.yaml' '--set=name=$HOME' --shard "
            "\"$SLURM_ARRAY_TASK_ID/8\"\n");
}

TEST(Submission, APercentInTheRunFolderIsNoPatternOfSbatch) {
  Plan plan;
  plan.name = "run";
  plan.run_folder = "/data/50%A";
  SlurmSettings settings;
  settings.tasks = 2;
  settings.sbatch = {"--time=5"};
  const std::string line = submission_line(plan, settings, {1, 2});
  EXPECT_NE(line.find("--output=/data/50%%A/journal/slurm-%A_%a.log"), std::string::npos) << line;
  EXPECT_TRUE(line.ends_with("--time=5 /data/50%A/journal/slurm-task.sh")) << line;
}

// What sbatch 22.05 says where there is no slurm.conf.
TEST(Submission, AMachineWithoutAConfigurationIsToldSo) {
  TemporaryFolder programs;
  for (const char* name : {"sbatch", "squeue"}) {
    std::ofstream(programs / name)
        << "#!/bin/sh\necho '" << name
        << ": error: _establish_config_source: failed to fetch config' >&2\necho '" << name
        << ": fatal: Could not establish a configuration source' >&2\nexit 1\n";
    fs::permissions(programs / name, fs::perms::owner_all);
  }
  const std::string path = ::getenv("PATH");
  ::setenv("PATH", (programs.path().string() + ":" + path).c_str(), 1);
  const SlurmClient client(StopSignal::install());
  try {
    client.submit({}, -1);
    ADD_FAILURE();
  } catch (const EnvironmentError& error) {
    const std::string line = error.what();
    EXPECT_TRUE(
        line.starts_with("sbatch: Could not establish a configuration source; Slurm has no "
                         "configuration on this machine"))
        << line;
    EXPECT_NE(line.find("$SLURM_CONF"), std::string::npos) << line;
    EXPECT_EQ(line.find("--slurm-args"), std::string::npos) << line;
  }
  try {
    client.tasks_named("run");
    ADD_FAILURE();
  } catch (const SlurmAway& away) {
    EXPECT_NE(std::string(away.what()).find("$SLURM_CONF"), std::string::npos) << away.what();
  }
  ::setenv("PATH", path.c_str(), 1);
}

}  // namespace
}  // namespace backlot
