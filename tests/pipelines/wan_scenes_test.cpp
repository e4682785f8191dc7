// Clips of several scenes, against the clips that the scenes are by themselves.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "pipelines/scene_mixer.h"
#include "pipelines/wan_clips.h"

namespace backlot {
namespace {

VideoScene scene_of(const char* prompt, uint64_t seed, int64_t frames, int64_t shared = 0) {
  VideoScene scene;
  scene.prompt = prompt;
  scene.negative_prompt = "blurry";
  scene.seed = seed;
  scene.frames = frames;
  scene.transition_frames = shared;
  return scene;
}

VideoRequest three_scenes() {
  VideoRequest request = small_request();
  request.steps = 3;
  request.scenes = {scene_of("a red fox", 3, 5), scene_of("a banana", 9, 9, 2),
                    scene_of("a hare", 4, 5)};
  return request;
}

// A clip of its own, of that prompt, seed and length.
Made alone(VideoPipeline& pipeline, const VideoRequest& request, size_t scene) {
  VideoRequest own = request;
  own.scenes.clear();
  own.prompt = request.scenes[scene].prompt;
  own.negative_prompt = request.scenes[scene].negative_prompt;
  own.seed = request.scenes[scene].seed;
  own.frames = request.scenes[scene].frames;
  return make(pipeline, own);
}

struct Counter : Silent {
  void stage(std::string_view name) override { stages.emplace_back(name); }
  void denoising(std::span<const size_t>) override { ++begun; }
  void step(int64_t done, int64_t total) override {
    auto& of = stages.back() == "decode" ? frames : steps;
    EXPECT_EQ(done, std::ssize(of) + 1);
    of.push_back(total);
  }
  std::vector<std::string> stages;
  std::vector<int64_t> steps, frames;  // totals, as told
  int begun = 0;
};

TEST(WanScenes, AreTheClipsThatTheyAreAlone) {
  const auto pipeline = load("wan-t2v", TextEncoderPlace::while_encoding);
  const VideoRequest request = three_scenes();
  const Made clip = make(*pipeline, request);
  EXPECT_EQ(clip.result.frames, 17);
  EXPECT_TRUE(clip.result.warnings.empty());
  ASSERT_EQ(clip.frames.size(), 17u);
  const Made first = alone(*pipeline, request, 0), second = alone(*pipeline, request, 1),
             third = alone(*pipeline, request, 2);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(clip.frames[i].rgb, first.frames[i].rgb) << i;
  for (size_t i = 2; i < 9; ++i) EXPECT_EQ(clip.frames[3 + i].rgb, second.frames[i].rgb) << i;
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(clip.frames[12 + i].rgb, third.frames[i].rgb) << i;
  // Thirds and two thirds, to the nearest.
  for (size_t i = 0; i < 2; ++i)
    for (size_t j = 0; j < clip.frames[3 + i].rgb.size(); ++j) {
      const double exact = (first.frames[3 + i].rgb[j] * (2.0 - double(i)) +
                            second.frames[i].rgb[j] * (1.0 + double(i))) /
                           3;
      ASSERT_LE(std::abs(clip.frames[3 + i].rgb[j] - exact), 0.5);
    }
  EXPECT_NE(clip.frames[3].rgb, first.frames[3].rgb);
}

TEST(WanScenes, OfOneAreAClip) {
  const auto pipeline = load("wan-t2v");
  VideoRequest request = three_scenes();
  request.scenes.resize(1);
  EXPECT_TRUE(same(make(*pipeline, request), alone(*pipeline, request, 0)));
}

TEST(WanScenes, CountTheStepsOfAll) {
  const auto pipeline = load("wan-t2v");
  Counter counter;
  make(*pipeline, three_scenes(), counter);
  EXPECT_EQ(counter.stages, (std::vector<std::string>{"text_encode", "denoise", "decode"}));
  EXPECT_EQ(counter.begun, 1);
  EXPECT_EQ(counter.steps, std::vector<int64_t>(9, 9));
  EXPECT_EQ(counter.frames, std::vector<int64_t>(17, 17));
}

// By a sampler that draws and one that remembers.
class WanScenesResume : public ::testing::TestWithParam<const char*> {};

TEST_P(WanScenesResume, GivesTheSameBytesFromEveryStep) {
  const auto pipeline = load("wan-t2v");
  VideoRequest request = three_scenes();
  request.scheduler = Json::parse(GetParam());
  const auto kept = expect_same_from_every_step(*pipeline, request).second;
  ASSERT_EQ(kept.size(), 8u);
  VideoCheckpoints other;
  other.resume_from = kept[4];
  request.scenes[2].prompt = "a bear";
  EXPECT_EQ(make(*pipeline, request, other).result.resumed_from, 0);
}

INSTANTIATE_TEST_SUITE_P(
    Samplers, WanScenesResume,
    ::testing::Values(
        "null",
        R"({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0, "stochastic_sampling": true})"));

// A scene reuses nothing of the one before.
TEST(WanScenes, GiveTheSameBytesWithAStepCache) {
  const auto pipeline = load("wan-t2v");
  VideoRequest request = three_scenes();
  request.scenes[1].transition_frames = 0;
  request.step_cache = 10;
  const auto [whole, kept] = expect_same_from_every_step(*pipeline, request);
  EXPECT_EQ(kept.size(), 8u);
  EXPECT_EQ(whole.result.skipped_evaluations, 3 * 2 * (request.steps - 2));
  const Made second = alone(*pipeline, request, 1);
  ASSERT_EQ(whole.frames.size(), 19u);
  for (size_t i = 0; i < 9; ++i) EXPECT_EQ(whole.frames[5 + i].rgb, second.frames[i].rgb) << i;
}

TEST(WanScenes, KeepWhatThereIsWhenTheyAreStopped) {
  const auto pipeline = load("wan22-t2v");
  VideoRequest request = request_of(oracle_json("wan22-t2v").at("job"));
  request.steps = 3;
  request.scenes = {scene_of("a", 1, 5), scene_of("b", 2, 5, 3)};
  expect_goes_on_where_stopped(*pipeline, request, 5);
}

TEST(WanScenes, AreRefusedWhereTheyCantBeJoined) {
  const auto pipeline = load("wan-t2v");
  const auto expect_refusal = [&](auto change) {
    VideoRequest request = three_scenes();
    change(request.scenes);
    EXPECT_THROW(make(*pipeline, request), ItemError);
  };
  expect_refusal([](auto& scenes) { scenes[1].frames = 8; });
  expect_refusal([](auto& scenes) { scenes[1].frames = 0; });
  expect_refusal([](auto& scenes) { scenes[0].transition_frames = 1; });
  expect_refusal([](auto& scenes) { scenes[1].transition_frames = -1; });
  expect_refusal([](auto& scenes) { scenes[1].transition_frames = 5; });
  expect_refusal([](auto& scenes) {
    scenes[1].frames = 5;
    scenes[2].transition_frames = 3;
  });
}

}  // namespace
}  // namespace backlot
