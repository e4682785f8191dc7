#include "run/merge.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <map>

#include "base/error.h"
#include "run/shard_world.h"
#include "support/faults.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

std::vector<fs::path> make_shards(const fs::path& scratch, const Plan& plan, int64_t count) {
  std::vector<fs::path> folders;
  for (int64_t k = 1; k <= count; ++k) {
    folders.push_back(scratch / fmt::format("shard-{}", k));
    RunFolder run = open_shard(folders.back(), plan, Shard{k, count});
    run.record_engine({"2.11", "cpu", "a processor", 1 << 30});
    fake::finish(run);
  }
  return folders;
}

void expect_merged(const fs::path& target, const Plan& plan) {
  const Json manifest = read_manifest(target);
  EXPECT_EQ(manifest["totals"]["done"], plan.items.size());
  std::map<std::string, int> lines;
  for (const auto& record : read_journals(RootedFolder(target)).records) ++lines[record.id];
  for (size_t i = 0; i < plan.items.size(); ++i) {
    EXPECT_EQ(lines[plan.items[i].id], 1);
    EXPECT_EQ(read_file(target / plan.items[i].output), fake::bytes_of(plan.items[i]));
    EXPECT_EQ(manifest["items"][i]["output"], plan.items[i].output);
  }
  for (const auto& entry : fs::recursive_directory_iterator(target))
    EXPECT_FALSE(is_temporary_name(entry.path())) << entry.path();
}

TEST(Merge, MakesOneRunOfTheShardsFolders) {
  TemporaryFolder scratch;
  const Plan plan = fake::plan(600);  // more than one batch of outputs
  const auto folders = make_shards(scratch.path(), plan, 3);
  const fs::path target = scratch / "merged";
  const MergeResult result = merge_runs(folders, target);
  EXPECT_EQ(result.taken, 600);
  EXPECT_EQ(result.totals.done, 600);
  expect_merged(target, plan);
  EXPECT_TRUE(fs::exists(target / "report.html"));
  EXPECT_EQ(read_manifest(target)["devices"].size(), 1u);
  const Json source = read_manifest(folders[0]), merged = read_manifest(target);
  EXPECT_EQ(merged["items"][0], source["items"][0]);
  for (const auto* key : {"name", "task", "spec", "base_seed", "models", "software"})
    EXPECT_EQ(merged[key], source[key]);
  EXPECT_EQ(fs::hard_link_count(target / plan.items[0].output), 2u);

  const std::string journal = read_file(target / "journal/main.jsonl");
  EXPECT_EQ(merge_runs(folders, target).taken, 0);
  EXPECT_EQ(read_file(target / "journal/main.jsonl"), journal) << "done twice";
  RunFolder run = open_shard(target, plan, std::nullopt);
  EXPECT_TRUE(run.pending().empty()) << "the same command goes on in it";
}

TEST(Merge, TakesWhatIsThereAndNamesWhatIsDamaged) {
  TemporaryFolder scratch;
  const Plan plan = fake::plan(12);
  const auto folders = make_shards(scratch.path(), plan, 2);
  const fs::path third = scratch / "third";
  {
    RunFolder run = open_shard(folders[0], plan, Shard{1, 2});
    RunFolder other = open_shard(third, plan, std::nullopt);
    fake::make(other, plan.items[4]);
    other.record_failed(plan.items[2], "the third could not", fake::attempt());
  }
  write_file_durably(folders[0] / plan.items[2].output, "damaged");
  write_file_durably(folders[0] / plan.items[4].output, "damaged");
  fs::remove(folders[1] / plan.items[5].output);
  const std::vector<fs::path> sources = {folders[0], folders[1], third};
  const fs::path target = scratch / "merged";
  for (int time = 0; time < 2; ++time) {
    const MergeResult result = merge_runs(sources, target);
    EXPECT_EQ(result.taken, time == 0 ? 10 : 0);
    EXPECT_EQ(result.totals.done, 10);
    EXPECT_EQ(result.totals.failed, 1);
    EXPECT_EQ(result.totals.pending, 1);
    const std::string two = (folders[0] / plan.items[2].output).string();
    const std::string four = (folders[0] / plan.items[4].output).string();
    EXPECT_EQ(result.damaged, time == 0 ? (std::vector{two, four}) : std::vector{two});
    EXPECT_EQ(result.missing, std::vector{(folders[1] / plan.items[5].output).string()});
    EXPECT_EQ(read_manifest(target)["items"][2]["error"], "the third could not");
    EXPECT_EQ(read_journals(RootedFolder(target)).records.size(), 11u);
    EXPECT_FALSE(fs::exists(target / plan.items[5].output));
  }
  RunFolder run = open_shard(target, plan, std::nullopt);
  EXPECT_EQ(fake::finish(run), 2);
}

TEST(Merge, MayGoIntoOneOfItsSources) {
  TemporaryFolder scratch;
  const Plan plan = fake::plan(9);
  const auto folders = make_shards(scratch.path(), plan, 3);
  EXPECT_EQ(merge_runs(folders, folders[1]).taken, 6);
  expect_merged(folders[1], plan);
}

TEST(Merge, CopiesWhereItCannotLink) {
  std::error_code absent;
  if (!fs::is_directory("/dev/shm", absent)) GTEST_SKIP() << "no second file system here";
  TemporaryFolder scratch;
  const Plan plan = fake::plan(6);
  const auto folders = make_shards(scratch.path(), plan, 2);
  std::string name = "/dev/shm/backlot-test-XXXXXX";
  if (!::mkdtemp(name.data())) GTEST_SKIP() << "no second file system here";
  struct stat here {
  }, there{};
  ASSERT_EQ(::stat(name.c_str(), &there) | ::stat(scratch.path().c_str(), &here), 0);
  EXPECT_EQ(merge_runs(folders, name).taken, 6);
  expect_merged(name, plan);
  EXPECT_EQ(fs::hard_link_count(fs::path(name) / plan.items[0].output),
            here.st_dev == there.st_dev ? 2u : 1u);
  fs::remove_all(name);
}

TEST(Merge, RefusesWhatIsNotTheSameRun) {
  TemporaryFolder scratch;
  const auto folders = make_shards(scratch.path(), fake::plan(4), 1);
  const fs::path other = scratch / "other", longer = scratch / "longer", none = scratch / "none";
  Plan plan = fake::plan(4);
  plan.items[3] = fake::item(3, "a pear");
  { RunFolder run = open_shard(other, plan, std::nullopt); }
  { RunFolder run = open_shard(longer, fake::plan(5), std::nullopt); }
  fs::create_directories(none);
  write_file_durably(none / "notes.txt", "mine");
  const auto merged = [&](std::vector<fs::path> sources, const char* target) {
    return refusal([&] { merge_runs(sources, scratch / target); });
  };
  const auto expect_in = [](const std::string& line, const fs::path& where, const char* what) {
    EXPECT_TRUE(line.starts_with(where.string() + ": ")) << line;
    EXPECT_NE(line.find(what), std::string::npos) << line;
  };
  expect_in(merged({folders[0], other}, "m"), other, "another item 3");
  expect_in(merged({folders[0], longer}, "m"), longer, "another plan (5 items)");
  expect_in(merged({folders[0], none}, "m"), none, "no run folder");
  expect_in(merged({scratch / "gone"}, "m"), scratch / "gone", "no such folder");
  expect_in(merged({folders[0]}, "other"), other, "another item 3");
  expect_in(merged({folders[0]}, "none"), none, "not a run folder");
  EXPECT_THROW(merge_runs({}, scratch / "m"), UsageError);
  EXPECT_FALSE(fs::exists(scratch / "m"));
  write_file_durably(folders[0] / "manifest.json", "{\"version\": 1");
  expect_in(merged({folders[0]}, "m"), folders[0] / "manifest.json", "damaged");
}

TEST(Merge, GoesOnAfterAKillAtEveryOperation) {
  TemporaryFolder scratch;
  const Plan plan = fake::plan(6);
  const auto folders = make_shards(scratch.path(), plan, 2);
  const auto merge_with = [&](const fs::path& target, faults::Kind kind, int64_t at) {
    const pid_t child = ::fork();
    if (child == 0) {
      faults::arm(kind, at);
      try {
        merge_runs(folders, target);
      } catch (const std::exception&) {
        ::_exit(3);
      }
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WEXITSTATUS(status);
  };
  ASSERT_EQ(merge_with(scratch / "counted", faults::Kind::count, 0), 0);
  const int64_t operations = faults::calls();
  ASSERT_GT(operations, 6 * 3);
  for (const auto kind : {faults::Kind::kill, faults::Kind::io_error})
    for (int64_t at = 1; at <= operations && !HasFailure(); ++at) {
      SCOPED_TRACE(fmt::format("operation {} of {}", at, operations));
      const fs::path target = scratch / "merged";
      merge_with(target, kind, at);
      EXPECT_EQ(merge_with(target, faults::Kind::count, 0), 0);
      expect_merged(target, plan);
      fs::remove_all(target);
    }
}

// What a box of a queue leaves: journal and outputs, but no plan.
TEST(Merge, TakesAFolderWithoutAManifestIntoItsRun) {
  TemporaryFolder scratch;
  const Plan plan = fake::plan(6);
  const auto folders = make_shards(scratch.path(), plan, 2);
  fs::remove(folders[1] / "manifest.json");
  const std::string alone = refusal([&] { merge_runs({{folders[1]}}, scratch / "m"); });
  EXPECT_NE(alone.find("no manifest.json"), std::string::npos) << alone;
  const MergeResult result = merge_runs({{folders[1]}}, folders[0]);
  EXPECT_EQ(result.taken, 3);
  EXPECT_EQ(result.totals.done, 6);
}

// Where a spec leaves no seed open, what was drawn for it decides nothing.
TEST(Merge, AsksForTheSameItemsNotForTheSameBaseSeed) {
  TemporaryFolder scratch;
  const Plan plan = fake::plan(4);
  const auto folders = make_shards(scratch.path(), plan, 2);
  { RunFolder run = fake::open(scratch / "drawn", plan); }
  const MergeResult result = merge_runs({folders}, scratch / "drawn");
  EXPECT_EQ(result.totals.done, 4);
}

}  // namespace
}  // namespace backlot
