// Specs of clips, and of pictures by models that make clips.
#include <gtest/gtest.h>

#include "spec/item_json.h"
#include "spec_world.h"

namespace backlot {
namespace {

std::string error_of(const SpecWorld& world, const std::string& rest) {
  try {
    world.plan_clips(rest);
  } catch (const SpecError& error) {
    return error.what();
  }
  return "";
}

TEST(Clips, HaveTheModelsOwnSizeAndLength) {
  const SpecWorld world;
  const auto plan = world.plan_clips("task: text-to-video\njobs: [{prompt: a red fox, seed: 4}]");
  EXPECT_EQ(plan.task, Task::text_to_video);
  EXPECT_EQ(plan.output.format, "mp4");
  const Item& item = plan.items.at(0);
  EXPECT_EQ(item.output, "videos/00000-a-red-fox-4.mp4");
  EXPECT_TRUE(by_video_model(item));
  const Json expected = {{"prompt", "a red fox"}, {"seed", 4},    {"steps", 50},
                         {"guidance_scale", 5.0}, {"width", 832}, {"height", 480},
                         {"frames", 81},          {"fps", 16.0},  {"max_sequence_length", 512},
                         {"vae_tiling", false}};
  EXPECT_EQ(canonical_json(item.parameters), canonical_json(expected));
}

TEST(Clips, AreFoldersWhereTheyAreSequences) {
  const SpecWorld world;
  const auto plan = world.plan_clips(
      "task: text-to-video\noutput: {format: png-sequence}\njobs: [{prompt: a, seed: 4}]");
  EXPECT_EQ(plan.items.at(0).output, "videos/00000-a-4");
}

TEST(Clips, CarryEveryFieldToTheirRequest) {
  const SpecWorld world;
  const auto plan = world.plan_clips(
      "task: text-to-video\njobs:\n- {prompt: a, negative_prompt: b, seed: 7, steps: 3, "
      "guidance_scale: 2, width: 64, height: 48, frames: 9, max_sequence_length: 32, "
      "vae_tiling: true, scheduler: unipc}");
  const VideoRequest request = video_request(plan.items.at(0));
  EXPECT_EQ(request.prompt, "a");
  EXPECT_EQ(request.negative_prompt, "b");
  EXPECT_EQ(request.seed, 7u);
  EXPECT_EQ(request.steps, 3);
  EXPECT_EQ(request.guidance_scale, 2);
  EXPECT_FALSE(request.guidance_scale_2);
  EXPECT_EQ(request.width, 64);
  EXPECT_EQ(request.height, 48);
  EXPECT_EQ(request.frames, 9);
  EXPECT_EQ(request.max_sequence_length, 32);
  EXPECT_TRUE(request.vae_tiling);
  EXPECT_EQ(request.scheduler, "unipc");
}

TEST(Clips, AreOneFrameWhereAPictureIsAsked) {
  const SpecWorld world;
  const auto plan = world.plan_clips("jobs: [{prompt: a, seed: 1}]");
  const Item& item = plan.items.at(0);
  EXPECT_EQ(item.output, "images/00000-a-1.png");
  EXPECT_EQ(item.parameters["frames"], 1);
  EXPECT_FALSE(item.parameters.contains("fps"));
  // SDXL's own are not there.
  EXPECT_FALSE(item.parameters.contains("clip_skip"));
  EXPECT_EQ(video_request(item).frames, 1);
}

TEST(Clips, TakeNoFieldsOfOtherModels) {
  const SpecWorld world;
  EXPECT_NE(error_of(world, "jobs: [{prompt: a, clip_skip: 1}]")
                .find("clip_skip means nothing to this model"),
            std::string::npos);
  EXPECT_NE(error_of(world, "task: text-to-video\njobs: [{prompt: a, width: 840}]")
                .find("width is 840, and this model makes multiples of 16; the nearest are 832 and "
                      "848"),
            std::string::npos);
  EXPECT_NE(error_of(world, "task: text-to-video\njobs: [{prompt: a, guidance_scale_2: 3}]")
                .find("guidance_scale_2 is for models of two transformers"),
            std::string::npos);
}

TEST(Clips, TakeAStepCache) {
  const SpecWorld world;
  const auto plan = world.plan_clips(
      "task: text-to-video\njobs: [{prompt: a, seed: 1}, {prompt: a, seed: 1, step_cache: 0.1}]");
  EXPECT_FALSE(plan.items.at(0).parameters.contains("step_cache"));
  EXPECT_EQ(video_request(plan.items.at(0)).step_cache, 0);
  EXPECT_EQ(video_request(plan.items.at(1)).step_cache, 0.1);
  EXPECT_NE(plan.items.at(0).id, plan.items.at(1).id) << "it makes another clip";
  EXPECT_NE(error_of(world, "task: text-to-video\njobs: [{prompt: a, step_cache: -1}]")
                .find("step_cache is -1"),
            std::string::npos);
}

TEST(Clips, AreWhatAPresetOfClipsMakes) {
  const SpecWorld world;
  const auto plan = world.plan_clips("preset: video_fast\njobs: [{prompt: a, seed: 1}]");
  EXPECT_EQ(plan.task, Task::text_to_video);
  EXPECT_EQ(plan.items.at(0).parameters["steps"], 20);
  EXPECT_EQ(plan.output.max_bytes, 8'000'000u);
  EXPECT_EQ(plan.output.format, "mp4");
}

TEST(Clips, SettingsTravel) {
  const SpecWorld world;
  const auto plan = world.plan_clips(
      "task: text-to-video\noutput: {format: webm, codec: av1, crf: 30, bit_depth: 10}\n"
      "jobs: [{prompt: a}]");
  const OutputSettings there = output_settings_from_json(to_json(plan.output));
  EXPECT_EQ(there.format, "webm");
  EXPECT_EQ(there.codec, "av1");
  EXPECT_EQ(there.crf, 30);
  EXPECT_EQ(there.bit_depth, 10);
  // The resolved spec gives the same items again.
  EXPECT_EQ(plan.spec["output"]["codec"], "av1");
  EXPECT_EQ(plan.spec["task"], "text-to-video");
}

// The reference cases' jobs, as run_cases.py writes them.
TEST(Clips, ReadTheReferenceCases) {
  const SpecWorld world;
  for (const char* name : {"wan-t2v", "wan22-t2v"}) {
    const Json reference =
        Json::parse(read_file(fs::path(BACKLOT_TEST_DATA) / "oracles" / name / "case.json"));
    Json job = Json::object();
    for (const auto& [key, value] : reference["job"].items())
      if (!value.is_null() && key != "guidance_scale_2") job[key] = value;
    const Json spec = {{"version", 1},
                       {"name", "case"},
                       {"task", "text-to-video"},
                       {"model", (world.folder() / "model").string()},
                       {"jobs", {job}},
                       {"output", {{"dir", "out"}, {"format", "png-sequence"}}}};
    const auto plan = world.plan_clips(read_spec(world.write("case.yaml", spec.dump(1))));
    EXPECT_EQ(video_request(plan.items.at(0)).frames, reference["job"]["frames"]);
  }
}

}  // namespace
}  // namespace backlot
