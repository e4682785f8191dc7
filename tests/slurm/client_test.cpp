// What Slurm's commands print, in the words of real ones.
#include "slurm/client.h"

#include <gtest/gtest.h>

#include "run/shard.h"
#include "slurm/followed_records.h"
#include "slurm/run.h"

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

}  // namespace
}  // namespace backlot
