#include "redis/work_stream.h"

#include "redis/with_server.h"

namespace backlot {
namespace {

using std::chrono::milliseconds;
using Items = std::vector<WorkStream::QueuedItem>;

class WorkStreamTest : public ::testing::Test {
 protected:
  void SetUp() override {
    NEEDS_REDIS_SERVER();
    server_ = std::make_unique<RedisServer>();
    client_ = std::make_unique<RedisClient>(parse_redis_url(server_->url()), quick());
    stream_ = std::make_unique<WorkStream>(*client_, "q");
    stream_->make_group();
    stream_->make_group();
    EXPECT_FALSE(stream_->enter_run("r", "about"));
    EXPECT_TRUE(stream_->enter_run("r", "about"));
  }

  int64_t add(const Items& items, const std::string& target = "t") {
    return stream_->add("r", target, items);
  }
  std::vector<std::string> results() {
    std::string last = "0";
    return stream_->results("r", last, milliseconds(0));
  }

  std::unique_ptr<RedisServer> server_;
  std::unique_ptr<RedisClient> client_;
  std::unique_ptr<WorkStream> stream_;
};

TEST_F(WorkStreamTest, AnItemIsPutOnOnce) {
  EXPECT_EQ(add({{"a", "A"}, {"b", "B"}}), 2);
  EXPECT_EQ(add({{"a", "A"}, {"b", "B"}, {"c", "C"}}), 1);
  const auto read = stream_->read("box", 10);
  ASSERT_EQ(read.size(), 3u);
  EXPECT_EQ(read[0].id, "a");
  EXPECT_EQ(read[0].item, "A");
  EXPECT_EQ(read[0].run, "r");
  EXPECT_EQ(read[0].target, "t");
  EXPECT_EQ(add({{"a", "A"}}), 0) << "in hand is on the queue";
  stream_->settle("r", "a", std::vector{read[0].entry}, "done");
  EXPECT_EQ(stream_->count_queued("r"), 2);
  EXPECT_EQ(add({{"a", "A"}}), 1) << "acknowledged, but wanted again";
}

TEST_F(WorkStreamTest, OtherSettingsReplaceWhatNobodyHasInHand) {
  add({{"a", "A"}, {"b", "B"}, {"c", "C"}});
  const auto first = stream_->read("box", 2);
  stream_->give_back("box", first[1].entry, 0);
  EXPECT_EQ(add({{"a", "A"}, {"b", "B"}, {"c", "C"}}, "other"), 2);
  EXPECT_TRUE(stream_->take_over("box 2", std::nullopt, 10).empty());
  const auto read = stream_->read("box 2", 10);
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[0].id, "b");
  EXPECT_EQ(read[0].target, "other");
}

TEST_F(WorkStreamTest, ReplacingPutsNothingBackThatWasSettledMeanwhile) {
  add({{"a", "A"}, {"b", "B"}});
  const auto read = stream_->read("box", 1);
  stream_->settle("r", "a", std::vector{read[0].entry}, "made");
  EXPECT_EQ(stream_->add("r", "other", Items{{"a", "A"}, {"b", "B"}}, WorkStream::Add::replace), 1);
  const auto rest = stream_->read("box", 9);
  ASSERT_EQ(rest.size(), 1u);
  EXPECT_EQ(rest[0].id, "b");
}

TEST_F(WorkStreamTest, SettlingTellsTheCoordinatorOnceTheRunIsKnown) {
  add({{"a", "A"}});
  const auto read = stream_->read("box", 1);
  stream_->settle("r", "a", std::vector{read[0].entry}, "made");
  EXPECT_EQ(results(), std::vector<std::string>{"made"});
  EXPECT_EQ(stream_->state().entries, 0);
  stream_->remove_run("r");
  stream_->settle("r", "a", std::vector{read[0].entry}, "again");
  EXPECT_TRUE(results().empty());
  EXPECT_EQ(client_->command({"EXISTS", "q:results:r"}).integer(), 0);
}

TEST_F(WorkStreamTest, WhatIsGivenBackIsTakenAtOnceAndCountsNotAsATry) {
  add({{"a", "A"}});
  const auto read = stream_->read("box", 1);
  stream_->give_back("box", read[0].entry, 0);
  const auto again = stream_->take_over("box 2", std::nullopt, 1);
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].deliveries, 1);
  EXPECT_EQ(again[0].from, "");
  stream_->give_back("box", read[0].entry, 0);
  EXPECT_TRUE(stream_->take_over("box 3", std::nullopt, 1).empty()) << "it was not box's to give";
}

TEST_F(WorkStreamTest, OnlyWhatIsLeftAloneIsTakenOver) {
  add({{"a", "A"}, {"b", "B"}});
  const auto read = stream_->read("box", 2);
  std::this_thread::sleep_for(milliseconds(60));
  EXPECT_TRUE(stream_->keep("box", std::vector{read[0].entry}).empty());
  const auto taken = stream_->take_over("box 2", milliseconds(50), 10);
  ASSERT_EQ(taken.size(), 1u);
  EXPECT_EQ(taken[0].id, "b");
  EXPECT_EQ(taken[0].from, "box");
  EXPECT_EQ(taken[0].deliveries, 2);
  EXPECT_EQ(stream_->keep("box", std::vector{read[0].entry, read[1].entry}),
            std::vector{read[1].entry});
  EXPECT_EQ(stream_->held("box").size(), 1u);
  EXPECT_EQ(stream_->held("box 2").size(), 1u);
}

TEST_F(WorkStreamTest, ARunIsTakenOffWhole) {
  Items items;
  for (int i = 0; i < 1700; ++i) items.push_back({"id" + std::to_string(i), "x"});
  EXPECT_EQ(add(items), 1700);
  EXPECT_EQ(stream_->enter_run("other", ""), false);
  stream_->add("other", "t", Items{{"z", "Z"}});
  EXPECT_EQ(stream_->read("box", 3).size(), 3u);
  stream_->remove_run("r");
  EXPECT_EQ(stream_->state().entries, 1);
  EXPECT_EQ(stream_->state().handed_out, 0);
  EXPECT_EQ(stream_->read("box", 9).size(), 1u);
  EXPECT_EQ(stream_->queued("other").size(), 1u);
}

TEST_F(WorkStreamTest, BoxesAreCounted) {
  add({{"a", "A"}, {"b", "B"}});
  stream_->read("box", 1);
  stream_->beat("box", 2);
  const auto state = stream_->beat("box 2", 3);
  EXPECT_EQ(state.boxes, 2);
  EXPECT_EQ(state.workers, 5);
  EXPECT_EQ(state.entries, 2);
  EXPECT_EQ(state.handed_out, 1);
  stream_->leave("box");
  EXPECT_EQ(stream_->state().boxes, 1);
  EXPECT_EQ(stream_->held("box").size(), 1u) << "what it has in hand is not forgotten";
}

TEST_F(WorkStreamTest, AKilledServerComesBackWithAll) {
  add({{"a", "A"}, {"b", "B"}, {"c", "C"}});
  const auto read = stream_->read("box", 2);
  stream_->settle("r", "a", std::vector{read[0].entry}, "made");
  server_->restart();
  client_.reset(new RedisClient(parse_redis_url(server_->url()), quick()));
  WorkStream after(*client_, "q");
  EXPECT_EQ(after.queued("r").size(), 2u);
  EXPECT_EQ(after.held("box").size(), 1u);
  EXPECT_EQ(after.read("box", 5).size(), 1u);
  std::string last = "0";
  EXPECT_EQ(after.results("r", last, milliseconds(0)).size(), 1u);
}

}  // namespace
}  // namespace backlot
