// Memory plans of clips: Wan 2.1's sizes, of 1.3B and 14B parameters.
#include <gtest/gtest.h>

#include "fleet/memory_plan.h"

namespace backlot {
namespace {

constexpr uint64_t GB = 1'000'000'000, GiB = uint64_t{1} << 30;

// As published: transformer, autoencoder, UMT5-XXL's encoder.
VideoSizes wan_1_3b() {
  VideoSizes sizes;
  sizes.transformers = 1'418'996'800;
  sizes.vae = 126'892'531;
  sizes.text_encoder = 5'680'910'336;
  sizes.width = 1536;
  sizes.ffn = 8960;
  sizes.layers = 30;
  sizes.text_width = 4096;
  sizes.decoder_channels = 96;
  sizes.decoder_blocks = 2;
  return sizes;
}

VideoSizes wan_14b() {
  VideoSizes sizes = wan_1_3b();
  sizes.transformers = 14'288'491'584;
  sizes.width = 5120;
  sizes.ffn = 13824;
  sizes.layers = 40;
  return sizes;
}

Item clip(int64_t width, int64_t height, int64_t frames) {
  Item item;
  item.model = "/models/wan";
  item.model_fingerprint = "f00d";
  item.parameters = Json{{"prompt", "p"},    {"seed", 1},        {"steps", 50},
                         {"width", width},   {"height", height}, {"guidance_scale", 5.0},
                         {"frames", frames}, {"fps", 16.0},      {"max_sequence_length", 512}};
  return item;
}

DeviceMemory device(const std::string& name, uint64_t bytes) {
  DeviceMemory memory;
  memory.name = name;
  memory.kind = "a kind";
  memory.total = memory.free = bytes;
  memory.fast_bfloat16 = true;
  return memory;
}

MemoryPlanner planner(const VideoSizes& video, MemoryWish wish = {}) {
  return MemoryPlanner(wish, MemoryStore(""), [video](const Item&) {
    ModelSizes sizes;
    sizes.video = video;
    sizes.vae_tile = wan_tile;
    return sizes;
  });
}

TEST(ClipMemory, TheSmallModelFitsTwelveGigabytes) {
  auto plans = planner(wan_1_3b());
  const BatchPlan plan = plans.plan(clip(832, 480, 81), 8, device("cuda:0", 12 * GB));
  EXPECT_TRUE(plan.fits);
  EXPECT_EQ(plan.dtype, "bfloat16");
  EXPECT_EQ(plan.batch, 1);
  EXPECT_FALSE(plan.vae_tiling);
  EXPECT_TRUE(plan.text_encoder_on_host);
  EXPECT_LT(plan.need.peak(), 12 * GB);
}

TEST(ClipMemory, TheTextEncoderComesAndGoesWhereThereIsRoomForIt) {
  auto plans = planner(wan_1_3b());
  const BatchPlan middle = plans.plan(clip(832, 480, 81), 1, device("cuda:0", 20 * GiB));
  EXPECT_TRUE(middle.fits && middle.text_encoders_out && !middle.text_encoder_on_host);
  const BatchPlan large = plans.plan(clip(832, 480, 81), 1, device("cuda:0", 24 * GiB));
  EXPECT_TRUE(large.fits && !large.text_encoders_out);
  // On the CPU there is no other place than its own memory.
  const BatchPlan host = plans.plan(clip(832, 480, 81), 1, device("cpu", 18 * GiB));
  EXPECT_TRUE(host.fits && host.text_encoders_out && !host.text_encoder_on_host);
}

TEST(ClipMemory, TheLargeModelNeedsALargeCard) {
  auto plans = planner(wan_14b());
  EXPECT_FALSE(plans.plan(clip(832, 480, 81), 1, device("cuda:0", 24 * GiB)).fits);
  EXPECT_TRUE(plans.plan(clip(832, 480, 81), 1, device("cuda:0", 48 * GiB)).fits);
  EXPECT_TRUE(plans.plan(clip(1280, 720, 81), 1, device("cuda:0", 80 * GiB)).fits);
}

TEST(ClipMemory, GrowsWithTheClipOnlyWhileItIsDenoised) {
  const VideoSizes sizes = wan_1_3b();
  const auto bytes = [&](int64_t frames, bool tiled = false) {
    ClipShape shape;
    shape.width = 832;
    shape.height = 480;
    shape.frames = frames;
    shape.guidance = true;
    shape.tiled = tiled;
    return clip_bytes(sizes, shape, 2, 2);
  };
  EXPECT_LT(bytes(81), bytes(41) + bytes(41) / 10);
  EXPECT_GT(bytes(801), 2 * bytes(81));
  EXPECT_LT(bytes(41, true), bytes(41));
}

TEST(ClipMemory, AStepCacheTakesItsOwn) {
  auto plans = planner(wan_1_3b());
  const DeviceMemory gpu = device("cuda:0", 24 * GiB);
  const Manner manner{.dtype = "bfloat16"};
  // So long that denoising takes more than decoding.
  const Item plain = clip(1280, 720, 321);
  Item cached = plain;
  cached.parameters["step_cache"] = 0.1;
  EXPECT_NE(plans.key(cached, gpu, manner), plans.key(plain, gpu, manner));
  // Two tensors of the stream for each of two texts, and two more while they are made.
  const uint64_t stream = uint64_t{81} * 45 * 80 * 1536 * 2;
  EXPECT_EQ(plans.need(cached, gpu, manner, 1).working,
            plans.need(plain, gpu, manner, 1).working + 6 * stream);
}

Item scenes_of(std::initializer_list<int64_t> lengths, int64_t shared) {
  Item item = clip(832, 480, 0);
  int64_t frames = 0;
  for (const int64_t length : lengths) {
    Json scene = {{"prompt", "p"}, {"seed", 1}, {"frames", length}};
    if (frames > 0) scene["transition_frames"] = shared;
    frames += length - (frames > 0 ? shared : 0);
    item.parameters["scenes"].push_back(std::move(scene));
  }
  item.parameters.erase("prompt");
  item.parameters["frames"] = frames;
  return item;
}

TEST(ClipMemory, OfScenesIsThatOfTheLongestAndALittle) {
  auto plans = planner(wan_1_3b());
  const DeviceMemory gpu = device("cuda:0", 24 * GiB);
  const Manner manner{.dtype = "bfloat16"};
  const uint64_t one = plans.need(clip(832, 480, 81), gpu, manner, 1).working;
  const uint64_t six = plans.need(scenes_of({41, 81, 81, 81, 81, 81}, 8), gpu, manner, 1).working;
  EXPECT_GT(six, one);
  EXPECT_LT(six, one + one / 20);
  EXPECT_GT(plans.need(clip(832, 480, 406), gpu, manner, 1).working, six + six / 2);
  EXPECT_EQ(plans.key(scenes_of({41, 81}, 8), gpu, manner),
            plans.key(clip(832, 480, 81), gpu, manner));
}

TEST(ClipMemory, OneClipIsMadeAtATimeWhateverIsAsked) {
  MemoryWish wish;
  wish.batch_size = 8;
  auto plans = planner(wan_1_3b(), wish);
  EXPECT_EQ(plans.most_together(clip(832, 480, 81), "cpu", 1), 1);
}

TEST(ClipMemory, MeasurementsAreOfOneLength) {
  auto plans = planner(wan_1_3b());
  const DeviceMemory gpu = device("cuda:0", 24 * GiB);
  const Manner manner{.dtype = "bfloat16"};
  EXPECT_NE(plans.key(clip(832, 480, 81), gpu, manner), plans.key(clip(832, 480, 41), gpu, manner));
}

TEST(ClipMemory, IsSaidInWords) {
  auto plans = planner(wan_1_3b());
  const auto lines = memory_lines(plans, clip(832, 480, 81), 1, device("cuda:0", 12 * GB));
  ASSERT_GE(lines.size(), 2u);
  EXPECT_NE(lines[0].find("text encoder on the host"), std::string::npos) << lines[0];
  EXPECT_NE(lines[1].find("the clip "), std::string::npos) << lines[1];
}

}  // namespace
}  // namespace backlot
