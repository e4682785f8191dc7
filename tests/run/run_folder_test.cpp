#include "run/run_folder.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <functional>
#include <set>
#include <thread>

#include "base/error.h"
#include "run/fake_run.h"
#include "run/worker_store.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

void append(const fs::path& path, std::string_view text) {
  std::ofstream(path, std::ios::app | std::ios::binary) << text;
}

void overwrite(const fs::path& path, std::string_view text) {
  std::ofstream(path, std::ios::trunc | std::ios::binary) << text;
}

void flip_bit(const fs::path& path) {
  std::string bytes = read_file(path);
  bytes[bytes.size() / 2] ^= 4;
  overwrite(path, bytes);
}

Json manifest_of(const fs::path& folder) {
  return Json::parse(read_file(folder / "manifest.json"));
}

std::set<int64_t> pending_indices(const RunFolder& run) {
  std::set<int64_t> indices;
  for (const Item* item : run.pending()) indices.insert(item->index);
  return indices;
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(RunFolder, MakesEverythingOnceAndNothingTheSecondTime) {
  TemporaryFolder scratch;
  const fs::path folder = scratch / "deep/fruit-sheet";
  const Plan plan = fake::plan(5);
  {
    RunFolder run = fake::open(folder, plan);
    EXPECT_EQ(manifest_of(folder)["totals"]["pending"], 5);
    EXPECT_EQ(fake::finish(run), 5);
  }
  const std::string journal = read_file(folder / "journal/main.jsonl");
  RunFolder run = fake::open(folder, plan);
  EXPECT_TRUE(run.pending().empty());
  EXPECT_EQ(run.findings().done, 5);
  EXPECT_EQ(read_file(folder / "journal/main.jsonl"), journal);
  EXPECT_EQ(manifest_of(folder)["totals"]["done"], 5);
}

TEST(RunFolder, RedoesExactlyTheDamagedAndTheMissing) {
  TemporaryFolder folder;
  const Plan plan = fake::plan(1000);
  {
    RunFolder run = fake::open(folder.path(), plan);
    fake::finish(run);
  }
  std::set<int64_t> hurt;
  for (int64_t i = 7; hurt.size() < 50; i += 19) {
    flip_bit(folder / plan.items[static_cast<size_t>(i)].output);
    hurt.insert(i);
  }
  fs::remove(folder / plan.items[0].output);
  overwrite(folder / plan.items[1].output, "");
  RunFolder run = fake::open(folder.path(), plan);
  EXPECT_EQ(run.findings().damaged.size(), 51u);
  EXPECT_EQ(run.findings().missing, std::vector<std::string>{plan.items[0].output});
  hurt.insert({0, 1});
  EXPECT_EQ(pending_indices(run), hurt);
  fake::finish(run);
  EXPECT_EQ(run.totals().done, 1000);
  EXPECT_EQ(read_file(folder / plan.items[7].output), fake::bytes_of(plan.items[7]));
}

TEST(RunFolder, ToleratesAJournalCutAtEveryByteOfItsLastLine) {
  TemporaryFolder folder;
  const Plan plan = fake::plan(3);
  {
    RunFolder run = fake::open(folder.path(), plan);
    fake::finish(run);
  }
  const fs::path path = folder / "journal/main.jsonl";
  const std::string whole = read_file(path);
  for (size_t length = whole.rfind('\n', whole.size() - 2); length <= whole.size(); ++length) {
    overwrite(path, whole.substr(0, length));
    const auto lines =
        std::count(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(length), '\n');
    RunFolder run = fake::open(folder.path(), plan);
    ASSERT_EQ(run.findings().done, lines) << "cut at " << length;
    ASSERT_EQ(run.findings().unreadable_lines, 0);
    fake::finish(run);
    ASSERT_EQ(read_journals(RootedFolder(folder.path())).records.size(), 3u) << "cut at " << length;
  }
}

TEST(RunFolder, TakesOverWhatAWorkerRecordedInItsOwnJournal) {
  TemporaryFolder folder;
  const Plan plan = fake::plan(3);
  RunFolder run = fake::open(folder.path(), plan);
  WorkerStore worker(folder.path(), run.journal_prefix() + "cpu-0",
                     [&](const Record& record) { run.adopt(record); });
  worker.record_engine({"2.11", "cpu", "a processor", 1 << 30});
  run.adopt(EngineRecord{"2.11", "cpu", "a processor", 1 << 30});
  worker.expect(plan.items[0], 0);
  worker.record_done(plan.items[0],
                     worker.write_output(plan.items[0], fake::bytes_of(plan.items[0])), 128, 128,
                     fake::attempt());
  worker.expect(plan.items[1], 2);
  worker.record_failed(plan.items[1], "no", fake::attempt());
  worker.record_failed(fake::item(7, "of another plan"), "no", fake::attempt());
  EXPECT_EQ(run.totals().done, 1);
  EXPECT_EQ(run.totals().failed, 1);
  EXPECT_EQ(run.totals().pending, 1);
  EXPECT_EQ(run.totals().bytes, fake::bytes_of(plan.items[0]).size());
  EXPECT_EQ(pending_indices(run), std::set<int64_t>{2});
  EXPECT_EQ(run.attempts(plan.items[1]), 3);
  run.write_manifest();
  EXPECT_EQ(manifest_of(folder.path())["totals"]["done"], 1);
  EXPECT_EQ(manifest_of(folder.path())["devices"].size(), 1u);
  EXPECT_EQ(read_file(folder / "journal/main.jsonl"), "") << "written twice";
}

// The order of files in the journal's folder says nothing about what came last.
TEST(RunFolder, BelievesTheJournalThatFitsTheFile) {
  for (const char* later : {"a-worker", "z-worker"}) {
    TemporaryFolder folder;
    const Plan plan = fake::plan(1);
    {
      RunFolder run = fake::open(folder.path(), plan);
      fake::finish(run);
    }
    overwrite(folder / plan.items[0].output, "damaged");
    {
      RunFolder run = fake::open(folder.path(), plan);
      WorkerStore worker(folder.path(), later, [&](const Record& record) { run.adopt(record); });
      worker.expect(plan.items[0], 1);
      worker.record_done(plan.items[0], worker.write_output(plan.items[0], "made elsewhere"), 128,
                         128, fake::attempt());
    }
    RunFolder run = fake::open(folder.path(), plan);
    EXPECT_EQ(run.findings().done, 1) << later;
    EXPECT_TRUE(run.findings().damaged.empty()) << later;
    EXPECT_EQ(run.attempts(plan.items[0]), 2);
  }
}

TEST(RunFolder, PassesOverForeignLinesAndSaysHowMany) {
  TemporaryFolder folder;
  const Plan plan = fake::plan(3);
  {
    RunFolder run = fake::open(folder.path(), plan);
    fake::finish(run);
  }
  append(folder / "journal/main.jsonl",
         "not json\n\n{}\n[1]\n{\"status\":7}\n" + std::string(3, '\0') + "\n" +
             std::string(100000, '[') + "\n" +
             R"({"id":"x","index":1,"status":"done","output":"../../etc/passwd"})"
             "\n");
  append(folder / "journal/other.jsonl", "\xff\xfe\n");
  RunFolder run = fake::open(folder.path(), plan);
  EXPECT_EQ(run.findings().done, 3);
  EXPECT_EQ(run.findings().unreadable_lines, 9);
}

TEST(RunFolder, TriesFailedItemsAgainAndCountsTheAttempts) {
  TemporaryFolder folder;
  const Plan plan = fake::plan(2);
  for (int64_t start = 1; start <= 3; ++start) {
    RunFolder run = fake::open(folder.path(), plan);
    EXPECT_EQ(pending_indices(run), start == 1 ? (std::set<int64_t>{0, 1}) : std::set<int64_t>{1});
    if (start == 1) fake::make(run, plan.items[0]);
    run.record_failed(plan.items[1], "/home/somebody/models/pocket-xl/unet: no; way",
                      fake::attempt());
    EXPECT_TRUE(run.pending().empty()) << "a failed item is not tried twice in one run";
    run.write_manifest();
    const Json item = manifest_of(folder.path())["items"][1];
    EXPECT_EQ(item["status"], "failed");
    EXPECT_EQ(item["attempts"], start);
    EXPECT_EQ(item["error"], "pocket-xl/unet: no; way");
  }
  RunFolder run = fake::open(folder.path(), plan);
  fake::finish(run);
  EXPECT_EQ(manifest_of(folder.path())["items"][1]["attempts"], 4);
  EXPECT_TRUE(manifest_of(folder.path())["items"][1]["error"].is_null());
}

TEST(RunFolder, FollowsItemsToNewNamesAndKeepsWhatLeftThePlan) {
  TemporaryFolder folder;
  const Plan before = fake::plan(4);
  {
    RunFolder run = fake::open(folder.path(), before);
    fake::finish(run);
  }
  // A job put in front shifts every index; the last one is gone.
  Plan after{.name = before.name, .spec = before.spec};
  after.items.push_back(fake::item(9, "a new one"));
  for (size_t i = 0; i < 3; ++i) after.items.push_back(before.items[i]);
  for (size_t i = 0; i < 4; ++i) {
    after.items[i].index = static_cast<int64_t>(i);
    after.items[i].output = fmt::format("pictures/{:03}.png", i);
  }
  after.items[1].output = before.items[1].output;
  after.items[2].output = before.items[0].output;
  const std::string kept = before.items[3].output;
  RunFolder run = fake::open(folder.path(), after);
  EXPECT_EQ(run.findings().renamed, 3);
  EXPECT_EQ(run.findings().leftover, std::vector<std::string>{kept});
  EXPECT_EQ(fake::finish(run), 1);
  for (const auto& item : after.items)
    EXPECT_EQ(read_file(folder / item.output), fake::bytes_of(item));
  EXPECT_EQ(read_file(folder / kept), fake::bytes_of(before.items[3]));
  EXPECT_EQ(manifest_of(folder.path())["leftover"], Json::array({kept}));
}

TEST(RunFolder, KeepsItsBaseSeedForGood) {
  TemporaryFolder folder;
  const Plan plan = fake::plan(1);
  const uint64_t drawn = RunFolder::base_seed(folder.path());
  EXPECT_LT(drawn, uint64_t{1} << 53);
  EXPECT_NE(drawn, RunFolder::base_seed(folder.path())) << "nothing is stored before open()";
  { RunFolder::open(folder.path(), plan, {.base_seed = drawn}); }
  EXPECT_EQ(RunFolder::base_seed(folder.path()), drawn);
  EXPECT_THROW(RunFolder::open(folder.path(), plan, {.base_seed = drawn + 1}), EnvironmentError);
}

TEST(RunFolder, StartsOverWithoutTouchingForeignFiles) {
  TemporaryFolder folder;
  const Plan plan = fake::plan(3);
  uint64_t seed = 0;
  {
    RunFolder run = fake::open(folder.path(), plan);
    fake::finish(run);
    seed = RunFolder::base_seed(folder.path());
  }
  overwrite(folder / "images/mine.txt", "mine");
  overwrite(folder / "notes.txt", "notes");
  RunFolder run = fake::open(folder.path(), plan, Resume::start_over);
  EXPECT_EQ(run.pending().size(), 3u);
  EXPECT_FALSE(fs::exists(folder / plan.items[0].output));
  EXPECT_EQ(read_file(folder / "images/mine.txt"), "mine");
  EXPECT_EQ(read_file(folder / "notes.txt"), "notes");
  EXPECT_NE(RunFolder::base_seed(folder.path()), seed);
  EXPECT_EQ(fake::finish(run), 3);
}

TEST(RunFolder, RefusesAFolderWithOtherThingsInIt) {
  TemporaryFolder folder;
  overwrite(folder / "thesis.doc", "years of work");
  const Plan plan = fake::plan(1);
  for (const Resume resume : {Resume::from_disk, Resume::start_over})
    EXPECT_NE(message_of([&] { fake::open(folder.path(), plan, resume); }).find("not a run folder"),
              std::string::npos);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()), 1);
}

TEST(RunFolder, RefusesPlansThatWouldEatTheirOwnOutputs) {
  TemporaryFolder scratch;
  for (const auto* output : {"", "/etc/x.png", "../x.png", "images/../../x.png", "manifest.json",
                             "journal/main.jsonl", "images/", "images/.backlot-tmp-1"}) {
    Plan plan = fake::plan(1);
    plan.items[0].output = output;
    EXPECT_THROW(fake::open(scratch / "run", plan), SpecError) << output;
  }
  Plan twice = fake::plan(2);
  twice.items[1].output = twice.items[0].output;
  EXPECT_THROW(fake::open(scratch / "run", twice), SpecError);
  EXPECT_FALSE(fs::exists(scratch / "run")) << "nothing was started";
}

TEST(RunFolder, LetsNobodyElseInUntilItsProcessIsGone) {
  TemporaryFolder folder;
  const Plan plan = fake::plan(2);
  int ready[2], end[2];
  ASSERT_EQ(::pipe(ready), 0);
  ASSERT_EQ(::pipe(end), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    RunFolder run = fake::open(folder.path(), plan);
    char byte = 'r';
    if (::write(ready[1], &byte, 1) != 1 || ::read(end[0], &byte, 1) < 0) ::_exit(1);
    ::_exit(0);
  }
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  const std::string message = message_of([&] { fake::open(folder.path(), plan); });
  EXPECT_NE(message.find(fmt::format("another backlot works on this run (pid {})", child)),
            std::string::npos)
      << message;
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(fake::open(folder.path(), plan).pending().size(), 2u);
}

TEST(RunFolder, CanBeCalledFromManyThreads) {
  TemporaryFolder folder;
  const Plan plan = fake::plan(200);
  RunFolder run = fake::open(folder.path(), plan);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (size_t i = t; i < plan.items.size(); i += 4) {
        fake::make(run, plan.items[i]);
        if (i % 50 == 0) run.write_manifest();
        run.totals();
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_TRUE(run.pending().empty());
  EXPECT_EQ(read_journals(RootedFolder(folder.path())).records.size(), 200u);
}

TEST(SymbolicLinks, DoNotLeadWritesOutOfTheRunFolder) {
  TemporaryFolder scratch;
  const Plan plan = fake::plan(2);
  const fs::path outside = scratch / "outside", folder = scratch / "run";
  fs::create_directory(outside);
  {
    RunFolder run = fake::open(folder, plan);
    fs::create_directory_symlink(outside, folder / "images");
    EXPECT_NE(message_of([&] { fake::make(run, plan.items[0]); }).find("symbolic link"),
              std::string::npos);
  }
  EXPECT_TRUE(fs::is_empty(outside));
  fs::remove(folder / "images");

  // In the place of a file a link is replaced, and what it named stays as it was.
  overwrite(outside / "precious", "precious");
  fs::create_directory(folder / "images");
  fs::create_symlink(outside / "precious", folder / plan.items[0].output);
  fs::remove(folder / "manifest.json");
  fs::create_symlink(outside / "precious", folder / "manifest.json");
  RunFolder run = fake::open(folder, plan);
  fake::finish(run);
  EXPECT_EQ(read_file(outside / "precious"), "precious");
  EXPECT_FALSE(fs::is_symlink(folder / plan.items[0].output));
  EXPECT_FALSE(fs::is_symlink(folder / "manifest.json"));
}

TEST(SymbolicLinks, ProveNothing) {
  TemporaryFolder scratch;
  const Plan plan = fake::plan(1);
  const fs::path folder = scratch / "run", output = folder / plan.items[0].output;
  {
    RunFolder run = fake::open(folder, plan);
    fake::finish(run);
  }
  fs::rename(output, scratch / "elsewhere.png");
  fs::create_symlink(scratch / "elsewhere.png", output);
  EXPECT_EQ(fake::open(folder, plan).pending().size(), 1u);
}

TEST(FullDisk, StopsWithAClearMessageAndGoesOnOnceThereIsSpace) {
  TemporaryFolder disk;
  if (::mount("tmpfs", disk.path().c_str(), "tmpfs", 0, "size=1m") != 0)
    GTEST_SKIP() << "needs the right to mount a tmpfs";
  const fs::path folder = disk / "run";
  const Plan plan = fake::plan(40);
  const auto bytes = [](const Item& item) {
    return fake::bytes_of(item) + std::string(50000, 'x');
  };
  const auto work = [&] {
    RunFolder run = fake::open(folder, plan);
    for (const Item* item : run.pending())
      run.record_done(*item, run.write_output(*item, bytes(*item)), 1, 1, fake::attempt());
  };
  const std::string message = message_of(work);
  EXPECT_NE(message.find("No space left on device"), std::string::npos) << message;
  EXPECT_NE(message.find(folder.string()), std::string::npos) << message;
  for (const auto& entry : fs::directory_iterator(folder / "images"))
    EXPECT_EQ(fs::file_size(entry.path()), bytes(plan.items[0]).size());
  ASSERT_EQ(::mount("tmpfs", disk.path().c_str(), "tmpfs", MS_REMOUNT, "size=8m"), 0);
  EXPECT_EQ(message_of(work), "nothing was thrown");
  EXPECT_TRUE(fake::open(folder, plan).pending().empty());
  ::umount(disk.path().c_str());
}

TEST(ReadOnlyFolder, IsNamedWithTheReason) {
  TemporaryFolder scratch;
  const fs::path folder = scratch / "run";
  fs::create_directory(folder);
  fs::permissions(folder, fs::perms::owner_read | fs::perms::owner_exec | fs::perms::others_read |
                              fs::perms::others_exec);
  fs::permissions(scratch.path(), fs::perms::all);
  // Permissions don't bind root, so this is tried as nobody.
  const pid_t child = ::fork();
  if (child == 0) {
    if (::getuid() == 0 && ::setuid(65534) != 0) ::_exit(2);
    const Plan plan = fake::plan(1);
    const std::string message = message_of([&] { fake::open(folder, plan); });
    const bool clear = message.find(folder.string()) != std::string::npos &&
                       message.find("Permission denied") != std::string::npos;
    ::_exit(clear ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace backlot
