// A run that is hit at every single disk operation, one after the other, must come out whole when
// it is run again: SQLite's writecrash and ioerr tests, for a batch of pictures.
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>

#include "base/error.h"
#include "run/fake_run.h"
#include "support/faults.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

using faults::Kind;

constexpr int64_t items = 12;

struct Ended {
  int status = 0;
  int64_t made = 0;     // outputs written, also those that did not get a journal line
  std::string message;  // of the error it ended with
};

// Runs the batch in a child process with a fault at its `at`-th disk operation.
Ended run_batch(const fs::path& folder, const Plan& plan, Kind kind, int64_t at) {
  int channel[2];
  if (::pipe(channel) != 0) std::abort();
  const pid_t child = ::fork();
  if (child == 0) {
    const int report = channel[1];
    const auto tell = [&](std::string_view text) {
      // By system call: write(2) itself may be what is made to fail.
      ::syscall(SYS_write, report, text.data(), text.size());
    };
    int status = 0;
    faults::arm(kind, at);
    try {
      RunFolder run = fake::open(folder, plan);
      for (const Item* item : run.pending()) {
        tell("+");
        fake::make(run, *item);
      }
      run.write_manifest();
    } catch (const EnvironmentError& error) {
      tell(error.what());
      status = 3;
    } catch (const std::exception& error) {
      tell(error.what());
      status = 99;
    }
    ::syscall(SYS_exit_group, status);
  }
  ::close(channel[1]);
  Ended ended;
  char buffer[4096];
  for (ssize_t n; (n = ::read(channel[0], buffer, sizeof buffer)) > 0;)
    ended.message.append(buffer, static_cast<size_t>(n));
  ::close(channel[0]);
  ended.made = static_cast<int64_t>(ended.message.find_first_not_of('+') == std::string::npos
                                        ? ended.message.size()
                                        : ended.message.find_first_not_of('+'));
  ended.message.erase(0, static_cast<size_t>(ended.made));
  int status = 0;
  ::waitpid(child, &status, 0);
  ended.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return ended;
}

std::map<std::string, int> done_lines(const fs::path& folder) {
  std::map<std::string, int> lines;
  if (!fs::exists(folder / "journal")) return lines;
  for (const auto& record : read_journals(RootedFolder(folder)).records)
    if (record.status == ItemStatus::done) ++lines[record.id];
  return lines;
}

// What must hold at every instant, whatever happened.
void expect_sound(const fs::path& folder, const Plan& plan) {
  const auto lines = done_lines(folder);
  for (const auto& item : plan.items) {
    const bool there = fs::exists(folder / item.output);
    if (there) {
      EXPECT_EQ(read_file(folder / item.output), fake::bytes_of(item));
    }
    EXPECT_TRUE(there || !lines.contains(item.id)) << "journalled without a file";
  }
  if (!fs::exists(folder / "manifest.json")) return;
  const Json manifest = Json::parse(read_file(folder / "manifest.json"), nullptr, false);
  ASSERT_TRUE(manifest.is_object()) << "torn manifest";
  for (const auto& item : manifest["items"]) {
    if (item["status"] != "done") continue;
    const fs::path output = folder / item["output"].get<std::string>();
    EXPECT_EQ(sha256_file(output), item["sha256"].get<std::string>());
  }
}

void expect_complete(const fs::path& folder, const Plan& plan) {
  expect_sound(folder, plan);
  const auto lines = done_lines(folder);
  for (const auto& item : plan.items) {
    EXPECT_TRUE(fs::exists(folder / item.output));
    EXPECT_EQ(lines.count(item.id) ? lines.at(item.id) : 0, 1) << "not done exactly once";
  }
  const Json manifest = Json::parse(read_file(folder / "manifest.json"));
  EXPECT_EQ(manifest["totals"]["done"], items);
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    EXPECT_FALSE(is_temporary_name(entry.path())) << entry.path() << " was left behind";
}

class EveryOperation : public ::testing::TestWithParam<Kind> {};

TEST_P(EveryOperation, CanGoWrongAndTheRunIsCompletedByRunningItAgain) {
  const Plan plan = fake::plan(items);
  TemporaryFolder scratch;
  ASSERT_EQ(run_batch(scratch / "counted", plan, Kind::count, 0).status, 0);
  const int64_t operations = faults::calls();
  ASSERT_GT(operations, items * 6);  // create, write, flush, close, rename, flush, journal, flush

  for (int64_t at = 1; at <= operations && !HasFailure(); ++at) {
    SCOPED_TRACE(fmt::format("operation {} of {}", at, operations));
    const fs::path folder = scratch / fmt::format("run-{}", at);
    const Ended hit = run_batch(folder, plan, GetParam(), at);
    switch (GetParam()) {
      case Kind::kill:
      case Kind::power_loss:
        EXPECT_EQ(hit.status, faults::killed_status);
        break;
      case Kind::interrupted:
      case Kind::short_write:
        EXPECT_EQ(hit.status, 0) << hit.message;
        break;
      default:  // a failed close or clean-up may do no harm
        EXPECT_TRUE(hit.status == 0 || hit.status == 3) << hit.status << hit.message;
        EXPECT_TRUE(hit.status == 0 || hit.message.find(folder.string()) != std::string::npos);
    }
    if (hit.status == 0) expect_complete(folder, plan);
    expect_sound(folder, plan);

    const Ended again = run_batch(folder, plan, Kind::count, 0);
    EXPECT_EQ(again.status, 0) << again.message;
    EXPECT_LE(hit.made + again.made, items + 1) << "more than the item in hand was redone";
    expect_complete(folder, plan);
    fs::remove_all(folder);
  }
}

std::string kind_name(const ::testing::TestParamInfo<Kind>& info) {
  constexpr const char* names[] = {"Count",   "Kill",        "PowerLoss", "NoSpace",
                                   "IoError", "Interrupted", "ShortWrite"};
  return names[static_cast<int>(info.param)];
}

INSTANTIATE_TEST_SUITE_P(Faults, EveryOperation,
                         ::testing::Values(Kind::kill, Kind::power_loss, Kind::no_space,
                                           Kind::io_error, Kind::interrupted, Kind::short_write),
                         kind_name);

// Items swap names and one is renamed: at no instant may a finished picture be lost.
TEST(Renaming, SurvivesAKillAtEveryOperation) {
  const Plan before = fake::plan(items);
  Plan after = before;
  for (size_t i = 0; i + 1 < after.items.size(); i += 2)
    std::swap(after.items[i].output, after.items[i + 1].output);
  after.items.back().output = "images/renamed.png";
  after.items.front().output = before.items[items - 2].output;

  TemporaryFolder scratch;
  const fs::path made = scratch / "made";
  ASSERT_EQ(run_batch(made, before, Kind::count, 0).made, items);
  const auto copy = [&](const fs::path& to) { fs::copy(made, to, fs::copy_options::recursive); };
  copy(scratch / "counted");
  const Ended moved = run_batch(scratch / "counted", after, Kind::count, 0);
  ASSERT_EQ(moved.status, 0) << moved.message;
  ASSERT_EQ(moved.made, 0);
  const int64_t operations = faults::calls();
  ASSERT_GT(operations, items * 2);  // each steps aside and moves

  for (const Kind kind : {Kind::kill, Kind::power_loss, Kind::io_error}) {
    for (int64_t at = 1; at <= operations && !HasFailure(); ++at) {
      SCOPED_TRACE(fmt::format("operation {} of {}", at, operations));
      const fs::path folder = scratch / "moved";
      copy(folder);
      run_batch(folder, after, kind, at);
      const Ended again = run_batch(folder, after, Kind::count, 0);
      EXPECT_EQ(again.status, 0) << again.message;
      EXPECT_EQ(again.made, 0) << "a finished picture was lost";
      for (const auto& item : after.items)
        EXPECT_EQ(read_file(folder / item.output), fake::bytes_of(item));
      fs::remove_all(folder);
    }
  }
}

}  // namespace
}  // namespace backlot
