#include "fleet/memory_plan.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "support/temporary_folder.h"

namespace backlot {
namespace {

constexpr uint64_t MiB = uint64_t{1} << 20, GiB = uint64_t{1} << 30;

// About SDXL's sizes.
ModelSizes sdxl() {
  ModelSizes sizes;
  sizes.unet = {.matrices = 1'900'000'000, .winograd = 660'000'000, .others = 7'000'000};
  sizes.vae = {.matrices = 3'000'000, .winograd = 80'000'000, .others = 600'000};
  sizes.first_text_encoder = 123'000'000;
  sizes.second_text_encoder = 695'000'000;
  sizes.unet_channels = {320, 640, 1280};
  sizes.vae_channels = {128, 256, 512, 512};
  sizes.vae_tile = 1024;
  sizes.vae_in_float32 = true;
  return sizes;
}

Item picture(int64_t width, int64_t height, double guidance = 5) {
  Item item;
  item.model = "/models/sdxl";
  item.model_fingerprint = "f00d";
  item.parameters = Json{{"prompt", "p"},  {"seed", 1},        {"steps", 1},
                         {"width", width}, {"height", height}, {"guidance_scale", guidance}};
  return item;
}

DeviceMemory device(uint64_t free, int64_t workers = 1, const std::string& name = "cpu") {
  DeviceMemory memory;
  memory.name = name;
  memory.kind = "a kind";
  memory.total = free;
  memory.free = free;
  memory.workers = workers;
  return memory;
}

MemoryPlanner planner(MemoryWish wish, MemoryStore store = MemoryStore("")) {
  return MemoryPlanner(wish, std::move(store), [](const Item&) { return sdxl(); });
}

struct Case {
  std::string name;
  MemoryWish wish;
  int64_t pixels, items;
  uint64_t free;
  int64_t workers;
  // What is expected.
  std::string dtype;
  int64_t least_batch, most_batch;
  bool out, tiled, fits;
};

class Plans : public ::testing::TestWithParam<Case> {};

TEST_P(Plans, AreWhatFits) {
  const Case& c = GetParam();
  auto plans = planner(c.wish);
  const Item item = picture(c.pixels, c.pixels);
  const DeviceMemory memory = device(c.free, c.workers);
  const BatchPlan plan = plans.plan(item, c.items, memory);
  EXPECT_EQ(plan.dtype, c.dtype);
  EXPECT_GE(plan.batch, c.least_batch);
  EXPECT_LE(plan.batch, c.most_batch);
  EXPECT_EQ(plan.text_encoders_out, c.out);
  EXPECT_EQ(plan.vae_tiling, c.tiled);
  EXPECT_EQ(plan.fits, c.fits);
  EXPECT_EQ(plan.allowed, allowance(memory));
  if (c.fits) {
    EXPECT_LE(plan.need.peak(), plan.allowed);
  }
  // Whatever was asked for and not given is said, with the figures.
  if (c.wish.batch_size > plan.batch && c.items > plan.batch) {
    ASSERT_FALSE(plan.warnings.empty());
    EXPECT_NE(plan.warnings.back().find("iB"), std::string::npos) << plan.warnings.back();
  }
  EXPECT_FALSE(plan.warnings.empty() && !plan.fits);
}

const MemoryWish full{.precision = Precision::float32};
const MemoryWish narrow{.precision = Precision::bfloat16};
const MemoryWish lower{.precision = Precision::float32, .allow_lower_precision = true};
const MemoryWish many{.precision = Precision::bfloat16, .batch_size = 64};
const MemoryWish eight{.precision = Precision::float32, .batch_size = 8};

INSTANTIATE_TEST_SUITE_P(
    Each, Plans,
    ::testing::Values(
        Case{"plenty", full, 1024, 100, 200 * GiB, 1, "float32", 4, 4, false, false, true},
        Case{"no_more_than_there_are", eight, 1024, 3, 200 * GiB, 1, "float32", 3, 3, false, false,
             true},
        Case{"as_wished", eight, 512, 100, 200 * GiB, 1, "float32", 8, 8, false, false, true},
        Case{"wish_stepped_down", many, 1024, 100, 24 * GiB, 1, "bfloat16", 2, 63, false, false,
             true},
        Case{"text_encoders_move_before_tiles", full, 1024, 9, 22 * GiB, 1, "float32", 1, 4, true,
             false, true},
        Case{"tiles_where_they_help", full, 2048, 9, 32 * GiB, 1, "float32", 1, 4, false, true,
             true},
        Case{"workers_share", narrow, 1024, 100, 28 * GiB, 2, "bfloat16", 1, 4, false, false, true},
        Case{"too_many_workers", narrow, 1024, 100, 24 * GiB, 8, "bfloat16", 1, 1, true, false,
             false},
        Case{"nothing_fits", full, 1024, 9, 8 * GiB, 1, "float32", 1, 1, true, false, false},
        Case{"lower_if_allowed", lower, 1024, 9, 14 * GiB, 1, "bfloat16", 1, 4, false, false, true},
        Case{"not_lower_if_not_needed", lower, 1024, 1, 100 * GiB, 1, "float32", 1, 1, false, false,
             true},
        // A container's limit is all that the machine has, as far as we are concerned.
        Case{"a_small_container", narrow, 512, 9, 512 * MiB, 1, "bfloat16", 1, 1, true, false,
             false}),
    [](const auto& each) { return each.param.name; });

TEST(MemoryPlan, AutomaticPrecisionIsTheDevicesOwn) {
  auto plans = planner({});
  DeviceMemory memory = device(100 * GiB);
  EXPECT_EQ(plans.plan(picture(512, 512), 1, memory).dtype, "float32");
  memory.fast_bfloat16 = true;
  EXPECT_EQ(plans.plan(picture(512, 512), 1, memory).dtype, "bfloat16");
  // float32 was chosen, not asked for, so it may give way.
  const auto plan = plans.plan(picture(512, 512), 1, device(9 * GiB));
  EXPECT_EQ(plan.dtype, "bfloat16");
  EXPECT_FALSE(plan.warnings.empty());
}

TEST(MemoryPlan, WhatIsLoadedStaysInItsPrecisionAndIsNotCountedTwice) {
  auto plans = planner(lower);
  DeviceMemory memory = device(2 * GiB);
  memory.total = 32 * GiB;
  EXPECT_FALSE(plans.plan(picture(512, 512), 1, memory).fits);
  memory.held = 16 * GiB;
  const auto plan = plans.plan(picture(512, 512), 1, memory, Manner{.dtype = "float32"});
  EXPECT_TRUE(plan.fits);
  EXPECT_EQ(plan.dtype, "float32");
  // Parts that are out are not brought back.
  EXPECT_TRUE(
      plans
          .plan(picture(512, 512), 1, memory, Manner{.dtype = "float32", .text_encoders_out = true})
          .text_encoders_out);
}

TEST(MemoryPlan, AFixedLimitIsKept) {
  DeviceMemory memory = device(100 * GiB, 4);
  memory.limit = 7 * GiB;
  EXPECT_EQ(allowance(memory), 7 * GiB);
  memory.free = 2 * GiB;  // others have taken the rest
  EXPECT_LT(allowance(memory), 2 * GiB);
}

TEST(MemoryPlan, ADeviceThatIsNotHereIsPlannedForAllTheSame) {
  auto plans = planner(narrow);
  DeviceMemory memory;
  memory.name = "cuda:7";
  const auto plan = plans.plan(picture(1024, 1024), 100, memory);
  EXPECT_TRUE(plan.fits);
  EXPECT_EQ(plan.batch, 16);
  for (const auto& line : memory_lines(plans, picture(1024, 1024), 100, memory))
    EXPECT_EQ(line.find("may be taken"), std::string::npos) << line;
}

TEST(MemoryPlan, OwnKernelsTakeMoreForTheirWeights) {
  auto plans = planner(narrow);
  const Item item = picture(512, 512);
  DeviceMemory memory = device(100 * GiB);
  const auto plain = plans.need(item, memory, {.dtype = "bfloat16"}, 1);
  memory.own_kernels = true;
  const auto packed = plans.need(item, memory, {.dtype = "bfloat16"}, 1);
  EXPECT_GT(packed.networks, plain.networks + GiB);
  EXPECT_NEAR(static_cast<double>(plans.need(item, memory, {.dtype = "float32"}, 1).networks),
              2.0 * static_cast<double>(plain.networks), 8);
}

TEST(MemoryPlan, MeasurementsTakeThePlaceOfEstimates) {
  auto plans = planner(narrow);
  const Item item = picture(1024, 1024);
  const DeviceMemory memory = device(100 * GiB);
  const Manner manner{.dtype = "bfloat16"};
  const auto estimated = plans.need(item, memory, manner, 4);
  EXPECT_FALSE(estimated.measured);
  plans.store().note_batch(plans.key(item, memory, manner), GiB, 8 * GiB, 1, 10 * GiB);
  plans.store().note_batch(plans.key(item, memory, manner), GiB, 8 * GiB, 4, 15 * GiB);
  for (const auto& [together, peak] : {std::pair{1, 10 * GiB}, {4, 15 * GiB}}) {
    const auto need = plans.need(item, memory, manner, together);
    EXPECT_TRUE(need.measured);
    EXPECT_EQ(need.fixed, GiB);
    EXPECT_NEAR(static_cast<double>(need.peak()), static_cast<double>(peak), double(MiB));
  }
  const auto between = plans.need(item, memory, manner, 2).peak();
  EXPECT_GT(between, 10 * GiB);
  EXPECT_LT(between, 15 * GiB);
  EXPECT_GT(plans.need(item, memory, manner, 8).peak(), 15 * GiB);
  // Other sizes were not measured.
  EXPECT_FALSE(plans.need(picture(512, 512), memory, manner, 4).measured);
}

TEST(MemoryPlan, WhatRanOutOnceIsNotTriedAgain) {
  auto plans = planner({.precision = Precision::bfloat16, .batch_size = 8});
  const Item item = picture(512, 512);
  const DeviceMemory memory = device(100 * GiB);
  ASSERT_EQ(plans.plan(item, 8, memory).batch, 8);
  const auto key = plans.key(item, memory, {.dtype = "bfloat16"});
  plans.store().note_limit(key, 3, allowance(memory));
  EXPECT_EQ(plans.plan(item, 8, memory).batch, 3);
  EXPECT_NE(plans.plan(item, 8, memory).warnings.at(0).find("ran out"), std::string::npos);
  EXPECT_EQ(plans.plan(item, 8, device(300 * GiB)).batch, 8) << "there was less then";
  plans.store().note_limit(key, 0, allowance(memory));
  EXPECT_TRUE(plans.plan(item, 8, memory).text_encoders_out) << "not even one fitted";
}

TEST(MemoryPlan, MoreMemoryNeverMakesForLess) {
  EXPECT_TRUE(rc::check([] {
    auto plans = planner(
        {.precision = Precision::bfloat16, .batch_size = *rc::gen::inRange<int64_t>(0, 100)});
    const Item item = picture(64 * *rc::gen::inRange<int64_t>(1, 32), 512);
    const auto free = *rc::gen::inRange<uint64_t>(1, 64) * GiB;
    const auto items = *rc::gen::inRange<int64_t>(1, 100);
    const auto less = plans.plan(item, items, device(free));
    const auto more = plans.plan(item, items, device(free + GiB));
    RC_ASSERT(less.batch >= 1 && less.batch <= items);
    if (less.fits) RC_ASSERT(more.fits && less.need.peak() <= less.allowed);
    if (less.fits && less.text_encoders_out == more.text_encoders_out &&
        less.vae_tiling == more.vae_tiling)
      RC_ASSERT(more.batch >= less.batch);
  }));
}

TEST(MemoryPlan, SaysWhatWouldFit) {
  auto plans = planner(full);
  std::string all;
  for (const auto& line : memory_lines(plans, picture(1024, 1024), 4, device(13 * GiB)))
    all += line + "\n";
  EXPECT_NE(all.find("estimated"), std::string::npos) << all;
  EXPECT_NE(all.find("warning: needs "), std::string::npos) << all;
  EXPECT_NE(all.find("--allow-lower-precision would fit"), std::string::npos) << all;
}

}  // namespace
}  // namespace backlot
