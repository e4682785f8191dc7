// Outputs that are folders, and checkpoints: proven, moved, merged, tidied like files.
#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "run/checkpoints.h"
#include "run/fake_run.h"
#include "run/merge.h"
#include "run/output_files.h"
#include "run/worker_store.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

Plan plan_of_clips(int64_t count) {
  Plan plan = fake::plan(count);
  plan.task = Task::text_to_video;
  for (auto& item : plan.items) item.output = fmt::format("videos/{:05}-clip", item.index);
  return plan;
}

// Three frames, as a writer of sequences leaves them.
void make_clip(RunFolder& run, const Item& item) {
  const fs::path place = run.place_for(item);
  fs::create_directories(place);
  for (int i = 0; i < 3; ++i)
    std::ofstream(place / fmt::format("{:05}.png", i)) << item.id << " frame " << i << "\n";
  const RootedFolder root(run.path());
  OutputFile file;
  file.path = item.output;
  file.bytes = output_bytes(root, item.output).value();
  file.sha256 = output_hash(root, item.output).value();
  file.clip = ClipFacts{.frames = 3, .fps = 16, .codec = "png"};
  run.claim(item, file.bytes);
  run.record_done(item, file, 48, 32, fake::attempt());
}

void make_all(const fs::path& folder, const Plan& plan) {
  RunFolder run = fake::open(folder, plan);
  for (const Item* item : run.pending()) make_clip(run, *item);
  run.write_manifest();
}

Json manifest_of(const fs::path& folder) {
  return Json::parse(read_file(folder / "manifest.json"));
}

TEST(ClipOutputs, AreHashedAsSha256sumListsThem) {
  TemporaryFolder folder;
  fs::create_directories(folder / "clip");
  std::ofstream(folder / "clip/00001.png") << "b";
  std::ofstream(folder / "clip/00000.png") << "a";
  const RootedFolder root(folder.path());
  EXPECT_EQ(output_bytes(root, "clip"), 2u);
  EXPECT_EQ(output_hash(root, "clip"),
            sha256_hex(sha256_hex("a") + "  00000.png\n" + sha256_hex("b") + "  00001.png\n"));
  fs::create_directories(folder / "clip/inner");
  EXPECT_EQ(output_bytes(root, "clip"), std::nullopt) << "no folder of files";
  EXPECT_EQ(output_bytes(root, "none"), std::nullopt);
}

TEST(ClipOutputs, AreProvenWholeAtEveryStart) {
  TemporaryFolder folder;
  const fs::path run_folder = folder / "run";
  const Plan plan = plan_of_clips(5);
  make_all(run_folder, plan);
  const Json item = manifest_of(run_folder)["items"][0];
  EXPECT_EQ(item["frames"], 3);
  EXPECT_EQ(item["fps"], 16.0);
  EXPECT_EQ(item["codec"], "png");
  {
    const RunFolder run = fake::open(run_folder, plan);
    EXPECT_EQ(run.findings().done, 5);
    EXPECT_EQ(run.record_of(plan.items[0]).file.clip, (ClipFacts{3, 16, "png"}));
  }
  fs::remove(run_folder / "videos/00001-clip/00002.png");                              // one less
  std::ofstream(run_folder / "videos/00002-clip/00003.png") << "x";                    // one more
  std::ofstream(run_folder / "videos/00003-clip/00000.png", std::ios::app) << "more";  // another
  fs::remove_all(run_folder / "videos/00004-clip");
  const RunFolder run = fake::open(run_folder, plan);
  EXPECT_EQ(run.findings().done, 1);
  EXPECT_EQ(run.findings().damaged.size(), 3u);
  EXPECT_EQ(run.findings().missing.size(), 1u);
  EXPECT_EQ(run.pending().size(), 4u);
}

TEST(ClipOutputs, MoveToTheNamesOfAnotherPlan) {
  TemporaryFolder folder;
  const fs::path run_folder = folder / "run";
  Plan plan = plan_of_clips(3);
  make_all(run_folder, plan);
  // In a circle, and what lies in the way of one belongs to nobody.
  std::swap(plan.items[0].output, plan.items[1].output);
  plan.items[2].output = "videos/other";
  fs::create_directories(run_folder / "videos/other");
  std::ofstream(run_folder / "videos/other/old.png") << "old";
  const RunFolder run = fake::open(run_folder, plan);
  EXPECT_EQ(run.findings().done, 3);
  EXPECT_EQ(run.findings().renamed, 3);
  EXPECT_TRUE(fs::exists(run_folder / "videos/other/00002.png"));
  EXPECT_FALSE(fs::exists(run_folder / "videos/other/old.png"));
  std::ifstream frame(run_folder / plan.items[0].output / "00000.png");
  std::string id;
  frame >> id;
  EXPECT_EQ(id, plan.items[0].id);
}

TEST(ClipOutputs, GoWithTheRunThatStartsOver) {
  TemporaryFolder folder;
  const fs::path run_folder = folder / "run";
  const Plan plan = plan_of_clips(2);
  make_all(run_folder, plan);
  const RunFolder run = fake::open(run_folder, plan, Resume::start_over);
  EXPECT_FALSE(fs::exists(run_folder / "videos"));
  EXPECT_EQ(run.pending().size(), 2u);
}

TEST(ClipOutputs, AreMerged) {
  TemporaryFolder folder;
  const Plan plan = plan_of_clips(2);
  make_all(folder / "a", plan);
  const fs::path sources[] = {folder / "a"};
  const MergeResult result = merge_runs(sources, folder / "whole");
  EXPECT_EQ(result.taken, 2);
  const RootedFolder whole(folder / "whole"), a(folder / "a");
  for (const auto& item : plan.items)
    EXPECT_EQ(output_hash(whole, item.output), output_hash(a, item.output));
  EXPECT_EQ(manifest_of(folder / "whole")["items"][1]["frames"], 3);
  // Again: nothing is left to take.
  EXPECT_EQ(merge_runs(sources, folder / "whole").taken, 0);
}

TEST(ClipOutputs, CountTowardsTheQuota) {
  TemporaryFolder folder;
  Plan plan = plan_of_clips(2);
  plan.output.quota = 300;
  RunFolder run = fake::open(folder / "run", plan);
  make_clip(run, plan.items[0]);  // 3 * (64 + 9) bytes
  EXPECT_THROW(run.claim(plan.items[1], 219), EnvironmentError);
  EXPECT_NO_THROW(run.claim(plan.items[0], 250)) << "in place of what is there";
}

TEST(Checkpoints, LastUntilTheItemIsDone) {
  TemporaryFolder folder;
  const fs::path run_folder = folder / "run";
  const Plan plan = plan_of_clips(2);
  {
    const RunFolder run = fake::open(run_folder, plan);
    EXPECT_EQ(run.checkpoint(plan.items[0]), std::nullopt);
    run.keep_checkpoint(plan.items[0], "half");
    run.keep_checkpoint(plan.items[0], "more than half");
    run.keep_checkpoint(plan.items[1], "a little");
  }
  RunFolder run = fake::open(run_folder, plan);
  EXPECT_EQ(run.checkpoint(plan.items[0]), "more than half");
  make_clip(run, plan.items[0]);
  EXPECT_EQ(run.checkpoint(plan.items[0]), std::nullopt);
  EXPECT_EQ(run.checkpoint(plan.items[1]), "a little");
  make_clip(run, plan.items[1]);
  run.write_manifest();
  EXPECT_FALSE(fs::exists(run_folder / work_folder));
}

TEST(Checkpoints, OfItemsThatAreNoLongerPlannedGo) {
  TemporaryFolder folder;
  const fs::path run_folder = folder / "run";
  {
    const Plan plan = plan_of_clips(2);
    const RunFolder run = fake::open(run_folder, plan);
    for (const auto& item : plan.items) run.keep_checkpoint(item, "half");
  }
  const Plan smaller = plan_of_clips(1);
  const RunFolder run = fake::open(run_folder, smaller);
  EXPECT_EQ(run.checkpoint(smaller.items[0]), "half");
  EXPECT_EQ(std::distance(fs::directory_iterator(run_folder / work_folder), {}), 1);
}

TEST(Checkpoints, PassFromWorkerToWorker) {
  TemporaryFolder folder;
  const fs::path run_folder = folder / "run";
  const Plan plan = plan_of_clips(1);
  const RunFolder run = fake::open(run_folder, plan);
  {
    const WorkerStore first(run_folder, "cpu-0", [](const Record&) {});
    first.keep_checkpoint(plan.items[0], "half");
  }
  WorkerStore second(run_folder, "cpu-1", [](const Record&) {});
  EXPECT_EQ(second.checkpoint(plan.items[0]), "half");
  second.expect(plan.items[0], 0);
  second.record_failed(plan.items[0], "no", fake::attempt());
  EXPECT_EQ(second.checkpoint(plan.items[0]), std::nullopt);
}

}  // namespace
}  // namespace backlot
