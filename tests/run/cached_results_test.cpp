#include "run/cached_results.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "run/cache_world.h"
#include "support/faults.h"
#include "support/run_dir.h"

namespace backlot {
namespace {

using faults::Kind;

MadeWith way() {
  MadeWith how;
  how.device = "cpu";
  how.dtype = "float32";
  return how;
}

void fill(ResultCache& cache, const Plan& plan, int64_t every) {
  for (const auto& item : plan.items) {
    if (item.index % every != 0) continue;
    CachedOutput output;
    output.bytes = fake::bytes_of(item);
    output.sha256 = sha256_hex(output.bytes);
    output.width = output.height = 128;
    output.attempt = fake::attempt();
    cache.put(cache_key(item, plan.output, way(), "1.0"), output);
  }
}

int64_t take(RunFolder& run, const Plan& plan, ResultCache& cache) {
  const MadeWith how = way();
  return take_from_cache(
      run, plan.output, cache, std::span(&how, 1), [](const Item&, const Record*) {},
      [] { return false; });
}

TEST(TakeFromCache, SettlesWhatIsThereAndLeavesTheRest) {
  CacheWorld world;
  const Plan plan = fake::plan(700);
  auto cache = world.cache();
  fill(cache, plan, 2);
  {
    RunFolder run = fake::open(world.folder / "run", plan);
    EXPECT_EQ(take(run, plan, cache), 350);
    EXPECT_EQ(run.totals().done, 350);
    EXPECT_EQ(run.pending().size(), 350u);
    EXPECT_EQ(run.pending().front(), &plan.items[1]);
    fake::finish(run);
  }
  expect_complete(world.folder / "run", 700);
  const Json manifest = read_manifest(world.folder / "run");
  for (const auto& item : manifest["items"]) {
    const bool cached = item["index"].get<int64_t>() % 2 == 0;
    EXPECT_EQ(item["cached"], cached);
    EXPECT_EQ(item["attempts"], cached ? 0 : 1);
    EXPECT_EQ(item["seconds"]["denoise"], 2.5);
  }
  // What the journal says holds at the next start.
  EXPECT_EQ(fake::open(world.folder / "run", plan).totals().done, 700);
}

TEST(TakeFromCache, LeavesACacheWithinItsLimits) {
  CacheWorld world;
  const Plan plan = fake::plan(20);
  auto unlimited = world.cache();
  fill(unlimited, plan, 1);
  const uint64_t full = unlimited.stats().bytes;
  auto cache = world.cache({.max_bytes = full / 2});
  RunFolder run = fake::open(world.folder / "run", plan);
  EXPECT_EQ(take(run, plan, cache), 20);
  EXPECT_LE(cache.stats().bytes, full / 2);
  EXPECT_GT(cache.stats().entries, 5);
}

TEST(TakeFromCache, CanBeKilledAtEveryDiskOperation) {
  CacheWorld world;
  const Plan plan = fake::plan(4);
  auto cache = world.cache();
  fill(cache, plan, 1);
  const auto take_with_fault = [&](const fs::path& folder, Kind kind, int64_t at) {
    const pid_t child = ::fork();
    if (child == 0) {
      faults::arm(kind, at);
      int64_t taken = 0;
      {
        RunFolder run = fake::open(folder, plan);
        taken = take(run, plan, cache);
      }
      ::syscall(SYS_exit_group, taken);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WEXITSTATUS(status);
  };
  ASSERT_EQ(take_with_fault(world.folder / "counted", Kind::count, 0), 4);
  const int64_t operations = faults::calls();
  ASSERT_GT(operations, 4 * 4);  // create, write, flush, close, rename
  for (const Kind kind : {Kind::kill, Kind::power_loss})
    for (int64_t at = 1; at <= operations && !HasFailure(); ++at) {
      SCOPED_TRACE(fmt::format("operation {} of {}", at, operations));
      const fs::path folder = world.folder / "run";
      const int ended = take_with_fault(folder, kind, at);
      // Threads may make one folder at the same time, so the last operations are not always there.
      EXPECT_TRUE(ended == faults::killed_status || (ended == 4 && at > operations - 4)) << ended;
      {
        RunFolder run = fake::open(folder, plan);
        EXPECT_TRUE(run.findings().missing.empty()) << "journalled without a file";
        EXPECT_TRUE(run.findings().damaged.empty());
        take(run, plan, cache);
        run.write_manifest();
      }
      expect_complete(folder, 4);
      fs::remove_all(folder);
    }
  EXPECT_TRUE(world.warnings.empty());
}

TEST(TakeFromCache, StopsWhenAsked) {
  CacheWorld world;
  const Plan plan = fake::plan(100);
  auto cache = world.cache();
  fill(cache, plan, 1);
  RunFolder run = fake::open(world.folder / "run", plan);
  const MadeWith how = way();
  int64_t asked = 0;
  const int64_t taken = take_from_cache(
      run, plan.output, cache, std::span(&how, 1), [](const Item&, const Record*) {},
      [&] { return ++asked > 2; });
  EXPECT_GT(taken, 0);
  EXPECT_LT(taken, 100);
  EXPECT_EQ(run.totals().done, taken);
}

TEST(TakeFromCache, TakesTheFirstWayThatThereIs) {
  CacheWorld world;
  const Plan plan = fake::plan(3);
  auto cache = world.cache();
  fill(cache, plan, 1);
  RunFolder run = fake::open(world.folder / "run", plan);
  std::vector<MadeWith> ways(2, way());
  ways[0].device = "cuda";
  ways[0].dtype = "bfloat16";
  EXPECT_EQ(
      take_from_cache(
          run, plan.output, cache, ways, [](const Item&, const Record*) {}, [] { return false; }),
      3);
}

TEST(TakeFromCache, KeepsWhatFitsIntoTheQuota) {
  CacheWorld world;
  Plan plan = fake::plan(100);
  auto cache = world.cache();
  fill(cache, plan, 1);
  const uint64_t each = fake::bytes_of(plan.items[0]).size();
  plan.output.quota = 40 * each;
  {
    RunFolder run = fake::open(world.folder / "run", plan);
    try {
      take(run, plan, cache);
      FAIL() << "the quota was passed";
    } catch (const EnvironmentError& error) {
      EXPECT_NE(std::string(error.what()).find("--quota"), std::string::npos);
    }
    EXPECT_EQ(run.totals().done, 40);
  }
  plan.output.quota = 100 * each;
  RunFolder run = fake::open(world.folder / "run", plan);
  EXPECT_EQ(take(run, plan, cache), 60);
}

}  // namespace
}  // namespace backlot
