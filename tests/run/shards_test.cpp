#include "run/shard.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <map>
#include <thread>

#include "base/error.h"
#include "run/report.h"
#include "run/shard_world.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

// Runs `work` in a process of its own, which exits with what it returns; 99 if it throws.
pid_t start(const std::function<int()>& work) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  int status = 99;
  try {
    status = work();
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
  }
  ::_exit(status);
}

int ended(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::map<std::string, int> done_lines(const fs::path& folder) {
  std::map<std::string, int> lines;
  for (const auto& record : read_journals(RootedFolder(folder)).records)
    if (record.status == ItemStatus::done) ++lines[record.id];
  return lines;
}

void expect_all_made_once(const fs::path& folder, const Plan& plan) {
  const auto lines = done_lines(folder);
  EXPECT_EQ(lines.size(), plan.items.size());
  for (const auto& [id, count] : lines) EXPECT_EQ(count, 1) << id;
  expect_complete(folder, plan.items.size());
}

TEST(Shard, IsReadFromKOfN) {
  EXPECT_EQ(parse_shard("1/1", "--shard"), (Shard{1, 1}));
  EXPECT_EQ(parse_shard("2/8", "--shard"), (Shard{2, 8}));
  for (const auto* text : {"", "2", "2/", "/8", "a/8", "2/8/9", "2 /8", "+1/2", "1.5/2", "0/8",
                           "9/8", "-1/8", "1/0", "1/-2", "1/1000001", "1/99999999999999999999"}) {
    const std::string line = refusal([&] { parse_shard(text, "--shard"); });
    EXPECT_TRUE(line.starts_with("--shard: ")) << text << " gave " << line;
    EXPECT_NE(line.find("K/N"), std::string::npos) << line;
  }
}

TEST(Shard, OwnsEveryItemOnceAndAnEvenShare) {
  const Plan plan = fake::plan(100);
  for (const int64_t count : {1, 3, 7, 100, 150}) {
    std::map<int64_t, int64_t> owned;
    for (const auto& item : plan.items) {
      int64_t owners = 0;
      for (int64_t k = 1; k <= count; ++k)
        if (Shard{k, count}.owns(item)) ++owners, ++owned[k];
      EXPECT_EQ(owners, 1);
    }
    for (const auto& [k, items] : owned) EXPECT_LE(items, 100 / count + 1);
  }
}

TEST(Shards, ShareAFolderAndMakeEveryItemOnce) {
  TemporaryFolder scratch;
  const fs::path folder = scratch / "run";
  const Plan plan = fake::plan(1000);
  std::vector<pid_t> children;
  for (int64_t k = 1; k <= 8; ++k)
    children.push_back(start([&, k] {
      RunFolder run = open_shard(folder, plan, Shard{k, 8});
      if (fake::finish(run) != 125 || !run.pending().empty()) return 1;
      return run.own_totals().done == 125 && run.own_totals().items == 125 ? 0 : 2;
    }));
  for (const pid_t child : children) EXPECT_EQ(ended(child), 0);
  expect_all_made_once(folder, plan);
  RunFolder whole = open_shard(folder, plan, std::nullopt);
  EXPECT_TRUE(whole.pending().empty());
  EXPECT_EQ(whole.findings().done, 1000);
}

TEST(Shards, TellTheirOwnTotalsFromThePlans) {
  TemporaryFolder folder;
  const Plan plan = fake::plan(5);
  RunFolder first = open_shard(folder.path(), plan, Shard{1, 2});
  RunFolder second = open_shard(folder.path(), plan, Shard{2, 2});
  EXPECT_EQ(first.journal_prefix(), "shard-1-of-2.");
  EXPECT_EQ(fake::finish(first), 3);
  second.record_failed(plan.items[1], "no", fake::attempt());
  EXPECT_EQ(second.own_totals().items, 2);
  EXPECT_EQ(second.own_totals().failed, 1);
  EXPECT_EQ(second.totals().done, 0) << "the others' journals are read for the manifest only";
  second.write_manifest();
  EXPECT_EQ(second.own_totals().done, 0);
  EXPECT_EQ(second.totals().done, 3);
  EXPECT_EQ(second.totals().failed, 1);
  EXPECT_EQ(second.totals().pending, 1);
  const Json totals = read_manifest(folder.path())["totals"];
  EXPECT_EQ(totals["done"], 3);
  EXPECT_EQ(totals["failed"], 1);
  EXPECT_NE(read_file(folder / "metrics.prom").find("} 3"), std::string::npos);
}

TEST(Shards, RefuseWhatDoesNotGoTogether) {
  TemporaryFolder folder;
  const Plan plan = fake::plan(6);
  const auto open = [&](std::optional<Shard> shard, const Plan& what) {
    return refusal([&] { open_shard(folder.path(), what, shard); });
  };
  const auto expect_in = [](const std::string& line, std::initializer_list<const char*> parts) {
    for (const auto* part : parts) EXPECT_NE(line.find(part), std::string::npos) << line;
  };
  const std::string me = fmt::format("pid {}", ::getpid());
  {
    RunFolder held = open_shard(folder.path(), plan, Shard{1, 2});
    expect_in(open(Shard{1, 2}, plan), {"on this shard", "1/2", me.c_str()});
    expect_in(open(Shard{1, 3}, plan), {"another split", "1/2", me.c_str(), "--shard K/2"});
    expect_in(open(std::nullopt, plan), {"shards work", "1/2", me.c_str(), "--shard K/2"});
    expect_in(open(Shard{2, 2}, fake::plan(7)), {"another plan", "1/2", "same spec"});
    EXPECT_EQ(open(Shard{2, 2}, plan), "nothing was thrown");
  }
  {
    RunFolder held = open_shard(folder.path(), plan, std::nullopt);
    expect_in(open(Shard{1, 2}, plan), {"the whole of this run", me.c_str(), "--output"});
    expect_in(open(std::nullopt, plan), {"another backlot works on this run", me.c_str()});
  }
  EXPECT_EQ(open(Shard{1, 3}, plan), "nothing was thrown") << "what ended is in nobody's way";
  RunFolderOptions fresh;
  fresh.resume = Resume::start_over;
  fresh.shard = Shard{1, 2};
  EXPECT_THROW(RunFolder::open(folder.path(), plan, fake::info(folder.path()), fresh), UsageError);
}

TEST(Shards, AgreeOnSeedsThatTheSpecLeavesOpen) {
  TemporaryFolder scratch;
  const Plan plan = fake::plan(2);
  const uint64_t seed = RunFolder::base_seed(scratch / "a", plan.spec);
  EXPECT_LT(seed, uint64_t{1} << 53);
  EXPECT_EQ(RunFolder::base_seed(scratch / "b", plan.spec), seed);
  EXPECT_NE(RunFolder::base_seed(scratch / "b", Json{{"version", 1}}), seed);
  uint64_t drawn = 0;
  {
    RunFolder run = fake::open(scratch / "a", plan);
    drawn = read_manifest(scratch / "a")["base_seed"];
  }
  EXPECT_NE(drawn, seed);
  EXPECT_EQ(RunFolder::base_seed(scratch / "a", plan.spec), drawn);
}

TEST(Shards, GoOnWhereAKilledOneStoppedAndLeaveOthersFilesAlone) {
  TemporaryFolder folder;
  const Plan plan = fake::plan(20);
  const pid_t child = start([&] {
    RunFolder run = open_shard(folder.path(), plan, Shard{1, 2});
    const auto pending = run.pending();
    for (size_t i = 0; i < 4; ++i) fake::make(run, *pending[i]);
    return ::raise(SIGKILL);
  });
  EXPECT_EQ(ended(child), 128 + SIGKILL);
  RunFolder other = open_shard(folder.path(), plan, Shard{2, 2});
  // What writes in progress look like, of this shard's dead worker and of the other's live one.
  const auto temporary = [&](const char* journal) {
    const fs::path path = folder / fmt::format("images/.backlot-tmp-{}cpu-0.7-0", journal);
    write_file_durably(path, "half");
    return path;
  };
  const fs::path dead = temporary("shard-1-of-2."), live = temporary("shard-2-of-2.");
  const fs::path unknown = temporary(""), old = temporary("shard-1-of-9.");
  fs::last_write_time(old, fs::file_time_type::clock::now() - std::chrono::hours(2));

  RunFolder run = open_shard(folder.path(), plan, Shard{1, 2});
  EXPECT_EQ(run.findings().done, 4);
  EXPECT_EQ(run.pending().size(), 6u);
  EXPECT_FALSE(fs::exists(dead));
  EXPECT_FALSE(fs::exists(old));
  EXPECT_TRUE(fs::exists(live));
  EXPECT_TRUE(fs::exists(unknown));
  fs::remove(live);
  fs::remove(unknown);
  fake::finish(run);
  fake::finish(other);
  expect_all_made_once(folder.path(), plan);
}

TEST(Shards, KeepOutputsWhoseNamesGoToAnotherShard) {
  TemporaryFolder folder;
  const Plan before = fake::plan(9);
  for (const int64_t k : {1, 2}) {
    RunFolder run = open_shard(folder.path(), before, Shard{k, 2});
    fake::finish(run);
  }
  // As with a job put in front: every item is now of the other shard, and has its neighbour's name.
  Plan after = before;
  std::rotate(after.items.rbegin(), after.items.rbegin() + 1, after.items.rend());
  for (size_t i = 0; i < after.items.size(); ++i) {
    after.items[i].index = static_cast<int64_t>(i);
    after.items[i].output = before.items[i].output;
  }
  RunFolder first = open_shard(folder.path(), after, Shard{1, 2});
  RunFolder second = open_shard(folder.path(), after, Shard{2, 2});
  EXPECT_TRUE(first.pending().empty());
  EXPECT_TRUE(second.pending().empty());
  EXPECT_EQ(first.findings().renamed, 9);
  for (const auto& item : after.items)
    EXPECT_EQ(read_file(folder / item.output), fake::bytes_of(item));
  EXPECT_EQ(read_manifest(folder.path())["totals"]["done"], 9);
}

// A worker that goes on for a moment after its supervisor was killed, the lock in its hand.
TEST(RunLock, IsWaitedForWhereOnlyAnOrphanHoldsIt) {
  for (const auto& shard : {std::optional<Shard>(), std::optional(Shard{2, 3})}) {
    TemporaryFolder folder;
    const Plan plan = fake::plan(6);
    int channel[2];
    ASSERT_EQ(::pipe(channel), 0);
    const pid_t supervisor = start([&] {
      RunFolder run = open_shard(folder.path(), plan, shard);
      const pid_t worker = ::fork();
      if (worker == 0) {  // with RunFolder::lock_fd
        ::alarm(30);
        ::pause();
      }
      if (::write(channel[1], &worker, sizeof worker) != sizeof worker) return 1;
      return ::raise(SIGKILL);
    });
    pid_t orphan = 0;
    ASSERT_EQ(::read(channel[0], &orphan, sizeof orphan), ssize_t{sizeof orphan});
    EXPECT_EQ(ended(supervisor), 128 + SIGKILL);
    const std::string line = refusal([&] { open_shard(folder.path(), plan, shard, 0.05); });
    EXPECT_NE(line.find("left behind when it was killed"), std::string::npos) << line;
    EXPECT_NE(line.find(std::to_string(supervisor)), std::string::npos) << line;
    const std::jthread soon([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      ::kill(orphan, SIGKILL);
    });
    RunFolder run = open_shard(folder.path(), plan, shard);
    EXPECT_EQ(fake::finish(run), shard ? 2 : 6);
    ::close(channel[0]);
    ::close(channel[1]);
  }
}

TEST(Report, OfASharedFolderIsMadeFromAllJournals) {
  TemporaryFolder folder;
  const Plan plan = fake::plan(10);
  const auto work = [&](int64_t k) {
    return start([&, k] {
      RunFolder run = open_shard(folder.path(), plan, Shard{k, 2});
      for (const Item* item : run.pending()) fake::make(run, *item);
      return ::raise(SIGKILL);  // before its last manifest
    });
  };
  EXPECT_EQ(ended(work(1)), 128 + SIGKILL);
  EXPECT_EQ(ended(work(2)), 128 + SIGKILL);
  write_file_durably(folder / plan.items[3].output, "something else, damaged");
  EXPECT_EQ(read_manifest(folder.path())["totals"]["done"], 5);
  build_report(folder.path());
  const Json manifest = read_manifest(folder.path());
  EXPECT_EQ(manifest["totals"]["done"], 9);
  EXPECT_EQ(manifest["items"][3]["status"], "pending");
  EXPECT_EQ(manifest["items"][4]["parameters"], plan.items[4].parameters);
  EXPECT_EQ(manifest["items"][4]["model"]["path"], "pocket-xl");
  EXPECT_EQ(manifest["models"][0]["licence"], "LICENSE");
  build_report(folder.path());
  Json again = read_manifest(folder.path());
  again["updated"] = manifest["updated"];
  EXPECT_EQ(again, manifest);

  // A run of the whole plan knows better than the journals.
  RunFolder run = open_shard(folder.path(), plan, std::nullopt);
  const std::string live = read_file(folder / "manifest.json");
  build_report(folder.path());
  EXPECT_EQ(read_file(folder / "manifest.json"), live);
}

}  // namespace
}  // namespace backlot
