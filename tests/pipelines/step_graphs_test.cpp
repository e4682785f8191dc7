// What is recorded, replayed and let go of, with a recorder that computes on the CPU.
#include "pipelines/step_graphs.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "pipelines/oracle_case.h"

namespace backlot {
namespace {

struct Account {
  int recorded = 0, replayed = 0, alive = 0;
  uint64_t bytes_each = 0;
  enum { well, fails, lacks_memory } goes = well;
};

// Keeps the work and does it again at every replay, in the same memory.
class FakeRecorder : public GraphRecorder {
 public:
  explicit FakeRecorder(Account& account) : account_(account) {}

  std::unique_ptr<RecordedWork> record(const std::function<void()>& work) override {
    TORCH_CHECK(account_.goes != Account::fails,
                "operation not permitted when stream is capturing");
    TORCH_CHECK_WITH(OutOfMemoryError, account_.goes != Account::lacks_memory, "none left");
    work();
    ++account_.recorded;
    return std::make_unique<Work>(account_, work);
  }

 private:
  struct Work : RecordedWork {
    Work(Account& account, std::function<void()> work) : account(account), work(std::move(work)) {
      ++account.alive;
    }
    ~Work() override { --account.alive; }
    void replay() override {
      ++account.replayed;
      work();
    }
    uint64_t bytes() const override { return account.bytes_each; }

    Account& account;
    std::function<void()> work;
  };

  Account& account_;
};

using Tensors = StepGraphs::Tensors;

Tensor product(const Tensors& constants, const Tensors& inputs) {
  return constants[0] * inputs[0] + inputs[1];
}

class StepGraphsTest : public ::testing::Test {
 protected:
  explicit StepGraphsTest(StepGraphs::Limits limits = {.recordings = 2})
      : graphs(std::make_unique<FakeRecorder>(account), limits) {}

  // A call for maps of `size`, and whether it gave what the network gives.
  bool right(int64_t size, uint64_t run, double constant) {
    const StepKey key{.network = "product", .height = size, .width = size};
    const Tensors constants = {at::full({size, size}, constant)};
    const Tensors inputs = {at::randn({size, size}), at::randn({size, size})};
    return graphs(key, run, constants, inputs, product).equal(product(constants, inputs));
  }

  Account account;
  StepGraphs graphs;
};

TEST_F(StepGraphsTest, TheSecondCallOfAShapeIsRecordedAndLaterOnesReplayed) {
  EXPECT_TRUE(right(4, 1, 2.0));
  EXPECT_EQ(account.recorded, 0);
  EXPECT_TRUE(right(4, 1, 2.0));
  EXPECT_EQ(account.recorded, 1);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(right(4, 1, 2.0));
  EXPECT_EQ(account.recorded, 1);
  EXPECT_EQ(account.replayed, 4);
}

TEST_F(StepGraphsTest, AnotherRunBringsItsOwnConstants) {
  for (uint64_t run = 1; run <= 4; ++run) {
    EXPECT_TRUE(right(4, run, static_cast<double>(run)));
    EXPECT_TRUE(right(4, run, static_cast<double>(run)));
  }
  EXPECT_EQ(account.recorded, 1);
}

TEST_F(StepGraphsTest, InputsMayLieOtherwiseInMemory) {
  const StepKey key{.network = "product"};
  const auto x = at::randn({3, 4}), y = at::randn({4, 3}).t();
  for (const auto& input : {x, x, y, x}) {
    const Tensors constants = {at::ones({3, 4})}, inputs = {input, x};
    EXPECT_TRUE(graphs(key, 1, constants, inputs, product).equal(input + x));
  }
  EXPECT_EQ(account.recorded, 1);
}

TEST_F(StepGraphsTest, ShapesHaveRecordingsOfTheirOwn) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(right(4, 1, 2.0));
    EXPECT_TRUE(right(5, 1, 3.0));
  }
  EXPECT_EQ(account.recorded, 2);
}

TEST_F(StepGraphsTest, TheLeastRecentlyUsedGoesFirst) {
  for (const int64_t size : {4, 4, 5, 5, 4, 6, 6}) EXPECT_TRUE(right(size, 1, 1.0));
  EXPECT_EQ(account.recorded, 3);
  EXPECT_EQ(graphs.size(), 2u);
  EXPECT_EQ(account.alive, 2);
  EXPECT_TRUE(right(4, 1, 1.0));  // still there
  EXPECT_EQ(account.recorded, 3);
  EXPECT_TRUE(right(5, 1, 1.0));  // gone, and recorded at once: it is known
  EXPECT_EQ(account.recorded, 4);
}

TEST_F(StepGraphsTest, ResultsOutliveTheNextReplay) {
  const StepKey key{.network = "product"};
  const Tensors constants = {at::ones({2})}, ones = {at::ones({2}), at::zeros({2})},
                twos = {at::full({2}, 2.0), at::zeros({2})};
  graphs(key, 1, constants, ones, product);
  const auto first = graphs(key, 1, constants, ones, product);
  const auto second = graphs(key, 1, constants, twos, product);
  EXPECT_TRUE(first.equal(ones[0]));
  EXPECT_TRUE(second.equal(twos[0]));
}

TEST_F(StepGraphsTest, WhatCannotBeRecordedIsComputedAndSaidOnce) {
  account.goes = Account::fails;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(right(4, 1, 2.0));
  const auto warning = graphs.take_warning();
  EXPECT_NE(warning.find("not permitted when stream is capturing"), std::string::npos) << warning;
  EXPECT_EQ(graphs.take_warning(), "");
  account.goes = Account::well;  // not tried again
  EXPECT_TRUE(right(4, 1, 2.0));
  EXPECT_EQ(account.recorded, 0);
}

TEST_F(StepGraphsTest, WithoutMemoryForARecordingAllAreLetGo) {
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(right(4, 1, 2.0));
  account.goes = Account::lacks_memory;
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(right(5, 1, 2.0));
  EXPECT_EQ(account.alive, 0);
  EXPECT_NE(graphs.take_warning(), "");
  EXPECT_FALSE(graphs.clear());
}

class StepGraphsOfLittleMemory : public StepGraphsTest {
 protected:
  StepGraphsOfLittleMemory() : StepGraphsTest({.recordings = 8, .bytes = 2500}) {}
};

TEST_F(StepGraphsOfLittleMemory, RecordingsStayWithinTheirBytes) {
  account.bytes_each = 1000;  // and at most 108 of buffers each
  for (const int64_t size : {1, 1, 2, 2, 3, 3}) EXPECT_TRUE(right(size, 1, 1.0));
  EXPECT_EQ(graphs.size(), 2u);
  account.bytes_each = 5000;
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(right(4, 1, 1.0));
  EXPECT_EQ(graphs.size(), 1u);  // the newest stays, whatever it takes
}

// The whole pipeline: the second picture of a shape replays what the first one's second step
// recorded, under another prompt and seed.
TEST(SdxlWithRecordings, MakesTheSamePictures) {
  const auto plain = load_for_test(oracles() + "/sdxl-base/model");
  const auto recording = load_for_test(oracles() + "/sdxl-base/model");
  Account account;
  dynamic_cast<SdxlPipeline&>(*recording).record_with(std::make_unique<FakeRecorder>(account));
  Silent silent;
  // PNDM remembers the denoiser's outputs.
  for (const char* scheduler : {"euler", "pndm", "dpmpp_2m"}) {
    for (const uint64_t seed : {1, 2}) {
      ImageRequest request{.prompt = seed == 1 ? "a fox" : "a frozen river",
                           .seed = seed,
                           .steps = 4,
                           .guidance_scale = seed == 1 ? 5.0 : 0.0,
                           .width = 64,
                           .height = 48,
                           .scheduler = scheduler};
      const auto expected = plain->generate({&request, 1}, silent);
      const auto made = recording->generate({&request, 1}, silent);
      EXPECT_EQ(made[0].picture.rgb, expected[0].picture.rgb) << scheduler << seed;
      EXPECT_TRUE(made[0].warnings.empty());
    }
  }
  EXPECT_EQ(account.recorded, 2);  // with guidance and without
  EXPECT_GT(account.replayed, 15);
}

TEST(SdxlWithRecordings, GoesOnWithoutThemAndSaysSo) {
  const auto pipeline = load_for_test(oracles() + "/sdxl-base/model");
  Account account{.goes = Account::fails};
  dynamic_cast<SdxlPipeline&>(*pipeline).record_with(std::make_unique<FakeRecorder>(account));
  Silent silent;
  const ImageRequest request{.prompt = "a fox", .steps = 3, .width = 64, .height = 48};
  EXPECT_EQ(pipeline->generate({&request, 1}, silent)[0].warnings.size(), 1u);
  EXPECT_TRUE(pipeline->generate({&request, 1}, silent)[0].warnings.empty());
}

}  // namespace
}  // namespace backlot
