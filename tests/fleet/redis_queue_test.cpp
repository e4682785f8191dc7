// Boxes and a coordinator on a real redis-server, in this process, one call at a time.
#include "fleet/redis_queue.h"

#include <thread>

#include "fleet/redis_coordinator.h"
#include "redis/with_server.h"
#include "run/fake_run.h"
#include "support/run_dir.h"

namespace backlot {
namespace {

using std::chrono::milliseconds;

WorkerOffer offer(const std::string& worker = "cpu-0", int64_t most = 4) {
  WorkerOffer offer;
  offer.worker = worker;
  offer.device = "cpu";
  offer.empty_handed = true;
  offer.most_together = [most](const Item&) { return most; };
  return offer;
}

class RedisQueueTest : public ::testing::Test {
 protected:
  void SetUp() override {
    NEEDS_REDIS_SERVER();
    server_ = std::make_unique<RedisServer>();
  }

  // Puts what is pending of a run of `items` on the queue, and leaves.
  void put_on(int64_t items) {
    plan_ = fake::plan(items);
    const RunInfo info = fake::info(folder_.path() / "run");
    RunFolderOptions how;
    how.boxes_write = true;
    RunFolder run = RunFolder::open(folder_.path() / "run", plan_, info, how);
    FleetProgress progress;
    RedisCoordinator(parse_redis_url(server_->url()), plan_, info.base_seed, run, {}, progress)
        .put_on();
  }

  std::unique_ptr<RedisQueue> box(const std::string& name,
                                  milliseconds claim_after = milliseconds(30000),
                                  int64_t attempts = 3) {
    RedisQueueOptions options;
    options.box = name;
    options.claim_after = claim_after;
    options.attempts = attempts;
    options.idle_exit = 0;
    options.output = output_;
    options.say = [this](const std::string& text) { said_.push_back(text); };
    return std::make_unique<RedisQueue>(parse_redis_url(server_->url()), options, quick());
  }

  // What a worker of the box does.
  Record make(RedisQueue& queue, const Work& work, const Item& item, bool tell = true) {
    Record made;
    WorkerStore store(work.run->folder, work.run->journals + "cpu-0",
                      [&](const Record& record) { made = record; });
    store.expect(item, queue.tries_so_far(item));
    store.record_done(item, store.write_output(item, fake::bytes_of(item)), 128, 128,
                      fake::attempt());
    if (tell) queue.settled(item, made);
    return made;
  }

  int64_t make_all(RedisQueue& queue) {
    int64_t made = 0;
    while (const auto work = queue.take(offer()))
      for (const Item* item : work->items) make(queue, *work, *item), ++made;
    return made;
  }

  // Waits for what time alone brings about.
  std::optional<Work> take_soon(RedisQueue& queue, const WorkerOffer& offer) {
    for (int i = 0; i < 400; ++i) {
      if (auto work = queue.take(offer)) return work;
      std::this_thread::sleep_for(milliseconds(10));
    }
    return std::nullopt;
  }

  WorkStream::State state() {
    RedisClient client(parse_redis_url(server_->url()), quick());
    return WorkStream(client, "backlot").state();
  }

  // Follows to the end: all is there already.
  Totals follow() {
    const RunInfo info = fake::info(folder_.path() / "run");
    RunFolderOptions how;
    how.boxes_write = true;
    RunFolder run = RunFolder::open(folder_.path() / "run", plan_, info, how);
    FleetProgress progress;
    RedisCoordinator coordinator(parse_redis_url(server_->url()), plan_, info.base_seed, run, {},
                                 progress);
    coordinator.run(StopSignal::install());
    elsewhere_ = coordinator.elsewhere();
    run.write_manifest();
    return run.totals();
  }

  TemporaryFolder folder_;
  fs::path output_;
  Plan plan_;
  std::unique_ptr<RedisServer> server_;
  std::vector<std::string> said_;
  std::map<std::string, int64_t> elsewhere_;
};

TEST_F(RedisQueueTest, TwoBoxesShareWhatWasPutOnTwice) {
  put_on(20);
  put_on(20);
  EXPECT_EQ(state().entries, 20);
  auto one = box("one"), two = box("two");
  std::set<std::string> ids;
  int64_t made = 0;
  for (bool more = true; more;) {
    more = false;
    for (RedisQueue* queue : {one.get(), two.get()}) {
      const auto work = queue->take(offer());
      if (!work) continue;
      more = true;
      for (const Item* item : work->items) {
        ids.insert(item->id);
        ++made;
        make(*queue, *work, *item);
      }
    }
  }
  EXPECT_EQ(made, 20);
  EXPECT_EQ(ids.size(), 20u);
  EXPECT_TRUE(one->finished());
  EXPECT_EQ(state().entries, 0);
  EXPECT_EQ(follow().done, 20);
  expect_complete(folder_ / "run", 20);
  put_on(20);
  EXPECT_EQ(state().entries, 0) << "all is done";
}

TEST_F(RedisQueueTest, WhatIsGoneFromTheDiskIsPutOnAgain) {
  put_on(3);
  auto one = box("one");
  EXPECT_EQ(make_all(*one), 3);
  fs::remove(folder_.path() / "run" / plan_.items[1].output);
  put_on(3);
  EXPECT_EQ(state().entries, 1);
  EXPECT_EQ(make_all(*box("two")), 1);
  EXPECT_EQ(follow().done, 3);
}

TEST_F(RedisQueueTest, ABoxThatLeavesGivesBackAtOnce) {
  put_on(10);
  auto one = box("one");
  const auto work = one->take(offer());
  ASSERT_TRUE(work);
  ASSERT_GE(work->items.size(), 1u);
  one->give_back(*work->items[0]);
  one.reset();
  EXPECT_EQ(state().handed_out, 0);
  auto two = box("two");
  const auto again = two->take(offer());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->items[0]->index, 0);
  EXPECT_EQ(two->tries_so_far(*again->items[0]), 0);
  for (const Item* item : again->items) make(*two, *again, *item);
  make_all(*two);
  EXPECT_EQ(follow().done, 10);
}

TEST_F(RedisQueueTest, WhatADeadBoxLeftIsTakenOverAndNothingIsMadeTwice) {
  put_on(4);
  // A box that is never heard of again: it is given its items, and made one of them.
  auto dead = box("dead");
  const auto work = dead->take(offer());
  ASSERT_TRUE(work);
  const auto in_hand = work->items.size();
  make(*dead, *work, *work->items[0], false);

  auto heir = box("heir", milliseconds(300));
  int64_t made = 0;
  for (int i = 0; i < 400 && state().entries > 0; ++i) {
    made += make_all(*heir);
    heir->tick();
    std::this_thread::sleep_for(milliseconds(10));
  }
  EXPECT_EQ(made, 3);
  EXPECT_GE(in_hand, 1u);
  EXPECT_EQ(state().entries, 0);
  EXPECT_EQ(follow().done, 4);
  expect_complete(folder_ / "run", 4);
}

TEST_F(RedisQueueTest, WhatIsKeptAliveIsNotTakenOver) {
  put_on(1);
  auto slow = box("slow", milliseconds(600));
  const auto work = slow->take(offer());
  ASSERT_TRUE(work);
  auto other = box("other", milliseconds(600));
  for (int i = 0; i < 60; ++i) {
    slow->tick();
    EXPECT_FALSE(other->take(offer()));
    std::this_thread::sleep_for(milliseconds(20));
  }
  make(*slow, *work, *work->items[0]);
  EXPECT_EQ(follow().done, 1);
}

TEST_F(RedisQueueTest, GoesOnAfterTheServerWasKilledAndRestarted) {
  put_on(12);
  auto one = box("one");
  const auto work = one->take(offer());
  ASSERT_TRUE(work);
  server_->kill();
  for (const Item* item : work->items) make(*one, *work, *item);
  EXPECT_EQ(one->untold(), work->items.size()) << "nobody there to tell";
  EXPECT_FALSE(one->take(offer("cpu-1")));
  one->tick();
  ASSERT_EQ(said_.size(), 1u);
  server_->start();
  const auto next = take_soon(*one, offer());
  ASSERT_TRUE(next);
  EXPECT_EQ(one->untold(), 0u);
  ASSERT_EQ(said_.size(), 2u);
  EXPECT_NE(said_[1].find("is back"), std::string::npos);
  for (const Item* item : next->items) make(*one, *next, *item);
  make_all(*one);
  EXPECT_EQ(state().entries, 0);
  EXPECT_EQ(follow().done, 12);
  expect_complete(folder_ / "run", 12);
}

TEST_F(RedisQueueTest, AnEmptiedServerIsFilledAgain) {
  put_on(6);
  auto one = box("one");
  const auto work = one->take(offer());
  ASSERT_TRUE(work);
  RedisClient(parse_redis_url(server_->url()), quick()).command({"FLUSHALL"});
  for (const Item* item : work->items) make(*one, *work, *item);
  put_on(6);
  EXPECT_EQ(state().entries, 6 - std::ssize(work->items));
  while (state().entries > 0) {
    make_all(*one);
    one->tick();
  }
  EXPECT_EQ(follow().done, 6);
}

TEST_F(RedisQueueTest, AnItemThatEndsTwoWorkersIsGivenUp) {
  put_on(3);
  auto one = box("one");
  Loss loss;
  loss.reason = "ended by signal 11 (Segmentation fault)";
  loss.device = "cpu";
  for (int end = 0; end < 2; ++end) {
    loss.worker = "cpu-" + std::to_string(end);
    auto work = take_soon(*one, offer(loss.worker, 1));
    ASSERT_TRUE(work);
    ASSERT_EQ(work->items.size(), 1u);
    EXPECT_EQ(work->items[0]->index, 0);
    const auto given_up = one->lost(work->items, loss);
    EXPECT_EQ(given_up.size(), static_cast<size_t>(end));
    if (end == 1) {
      EXPECT_EQ(given_up[0].item->index, 0) << "valid until the next call";
    }
  }
  EXPECT_EQ(make_all(*one), 2);
  EXPECT_EQ(state().entries, 0);
  // The coordinator hears of it, as it was at work then.
  const auto lines = read_journals(RootedFolder(folder_ / "run")).records;
  const auto failed = std::ranges::find(lines, ItemStatus::failed, &Record::status);
  ASSERT_NE(failed, lines.end());
  EXPECT_EQ(failed->index, 0);
  EXPECT_EQ(failed->attempts, 2);
  EXPECT_NE(failed->error.find("ended two workers: cpu-0"), std::string::npos) << failed->error;
}

TEST_F(RedisQueueTest, AnItemThatEndsBoxesIsGivenUpToo) {
  put_on(1);
  std::vector<std::unique_ptr<RedisQueue>> dead;
  for (int i = 0; i < 2; ++i) {
    dead.push_back(box("dead" + std::to_string(i), milliseconds(100), 2));
    const auto work = take_soon(*dead.back(), offer());
    ASSERT_TRUE(work);
    EXPECT_EQ(dead.back()->tries_so_far(*work->items[0]), i);
  }
  auto heir = box("heir", milliseconds(100), 2);
  for (int i = 0; i < 400 && state().entries > 0; ++i) {
    EXPECT_FALSE(heir->take(offer()));
    std::this_thread::sleep_for(milliseconds(10));
  }
  EXPECT_EQ(state().entries, 0);
  const auto lines = read_journals(RootedFolder(folder_ / "run")).records;
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].status, ItemStatus::failed);
  EXPECT_NE(lines[0].error.find("2 box"), std::string::npos) << lines[0].error;
}

TEST_F(RedisQueueTest, ARunOutOfReachIsSaidAndLeftToOthers) {
  put_on(2);
  fs::rename(folder_ / "run", folder_ / "elsewhere");
  auto one = box("one");
  try {
    one->take(offer());
    FAIL();
  } catch (const EnvironmentError& error) {
    EXPECT_NE(std::string(error.what()).find("--output"), std::string::npos) << error.what();
  }
  EXPECT_EQ(state().handed_out, 0);
  fs::rename(folder_ / "elsewhere", folder_ / "run");
  EXPECT_EQ(make_all(*box("two")), 2);
}

TEST_F(RedisQueueTest, ABoxMayKeepItsOutputsApart) {
  put_on(3);
  output_ = folder_ / "apart";
  fs::create_directory(output_);
  EXPECT_EQ(make_all(*box("one")), 3);
  const RootedFolder apart(folder_ / "apart" / "fruit-sheet");
  EXPECT_TRUE(apart.file_size(plan_.items[2].output));
  EXPECT_EQ(read_journals(apart).records.size(), 3u);
  // Not done as far as the run's folder goes: put on again, and known by the box at once.
  put_on(3);
  auto again = box("two");
  EXPECT_EQ(make_all(*again), 0);
  EXPECT_EQ(state().entries, 0);
}

TEST_F(RedisQueueTest, MemoryRunningOutMakesBatchesSmaller) {
  put_on(8);
  auto one = box("one");
  auto work = one->take(offer("cpu-0", 4));
  ASSERT_TRUE(work);
  ASSERT_EQ(work->items.size(), 4u);
  Loss loss;
  loss.worker = "cpu-0";
  loss.out_of_memory = true;
  EXPECT_TRUE(one->lost(work->items, loss).empty());
  work = one->take(offer("cpu-0", 4));
  ASSERT_TRUE(work);
  EXPECT_EQ(work->items.size(), 2u);
  EXPECT_EQ(work->items[0]->index, 0);
}

}  // namespace
}  // namespace backlot
