// Jobs of several prompts: what they say, what becomes of it, and what is refused where.
#include "spec/scenes.h"

#include <gtest/gtest.h>

#include "spec/item_json.h"
#include "spec/scene_spans.h"
#include "spec_world.h"

namespace backlot {
namespace {

constexpr const char* head = "task: text-to-video\n";

Plan plan_of(const std::string& jobs) { return SpecWorld().plan_clips(head + jobs); }

// "LINE:COLUMN: WHAT; MEND" of what is refused; the jobs begin on line 4.
std::string error_of(const std::string& jobs) {
  const SpecWorld world;
  try {
    world.plan_clips(head + jobs);
  } catch (const SpecError& error) {
    const std::string line = error.what();
    return line.substr(line.find("s.yaml:") + 7);
  }
  return "";
}

void expect_error(const std::string& jobs, const std::string& beginning) {
  EXPECT_TRUE(error_of(jobs).starts_with(beginning)) << error_of(jobs);
}

TEST(Scenes, TakeWhatTheyDoNotSayFromTheJob) {
  const auto plan = plan_of(
      "jobs:\n"
      "- seed: 5\n"
      "  frames: 33\n"
      "  negative_prompt: blurry\n"
      "  transition: crossfade\n"
      "  scenes:\n"
      "  - a fox runs\n"
      "  - {prompt: it drinks, frames: 49, negative_prompt: null, seed: 70}\n"
      "  - {prompt: it sleeps, transition: cut}\n"
      "  - {prompt: it wakes, transition_frames: 4}\n");
  ASSERT_EQ(plan.items.size(), 1u);
  const Json& p = plan.items[0].parameters;
  const Json expected = {
      {{"prompt", "a fox runs"}, {"negative_prompt", "blurry"}, {"seed", 5}, {"frames", 33}},
      {{"prompt", "it drinks"},
       {"seed", 70},
       {"frames", 49},
       {"transition", "crossfade"},
       {"transition_frames", 8}},
      {{"prompt", "it sleeps"},
       {"negative_prompt", "blurry"},
       {"seed", 7},
       {"frames", 33},
       {"transition", "cut"}},
      {{"prompt", "it wakes"},
       {"negative_prompt", "blurry"},
       {"seed", 8},
       {"frames", 33},
       {"transition", "crossfade"},
       {"transition_frames", 4}}};
  EXPECT_EQ(p["scenes"], expected) << p["scenes"].dump(1);
  EXPECT_EQ(p["seed"], 5);
  EXPECT_EQ(p["frames"], 33 + 49 - 8 + 33 + 33 - 4);
  for (const char* key : {"prompt", "negative_prompt", "transition", "transition_frames"})
    EXPECT_FALSE(p.contains(key)) << key;
  EXPECT_EQ(plan.items[0].output, "videos/00000-a-fox-runs-it-drinks-it-sleeps-it-wakes-5.mp4");
}

TEST(Scenes, StandOneAfterTheOtherInTheFile) {
  const auto plan = plan_of(
      "jobs:\n"
      "- {seed: 1, frames: 9, transition: crossfade, transition_frames: 3, scenes: [a, b, "
      "{prompt: c, transition: cut}]}\n");
  const auto spans = scene_spans(plan.items.at(0).parameters);
  ASSERT_EQ(spans.size(), 3u);
  EXPECT_EQ(spans[0].first_frame, 0);
  EXPECT_EQ(spans[1].first_frame, 6);
  EXPECT_EQ(spans[1].shared_before, 3);
  EXPECT_EQ(spans[2].first_frame, 15);
  EXPECT_EQ(spans[2].first_frame + spans[2].frames, plan.items[0].parameters["frames"]);
  EXPECT_EQ(to_json(spans[1]),
            (Json{{"prompt", "b"}, {"seed", 2}, {"first_frame", 6}, {"frames", 9}}));
  EXPECT_TRUE(scene_spans(plan_of("jobs: [{prompt: a}]").items.at(0).parameters).empty());
}

TEST(Scenes, AreCarriedToTheirRequest) {
  const auto plan = plan_of(
      "jobs: [{seed: 1, frames: 9, width: 64, height: 48, scenes: [a, {prompt: b, negative_prompt: "
      "n, frames: 13, transition: crossfade, transition_frames: 2}]}]\n");
  const VideoRequest request = video_request(item_from_json(to_json(plan.items.at(0))));
  ASSERT_EQ(request.scenes.size(), 2u);
  EXPECT_EQ(request.scenes[0].prompt, "a");
  EXPECT_EQ(request.scenes[0].transition_frames, 0);
  EXPECT_EQ(request.scenes[1].negative_prompt, "n");
  EXPECT_EQ(request.scenes[1].seed, 2u);
  EXPECT_EQ(request.scenes[1].frames, 13);
  EXPECT_EQ(request.scenes[1].transition_frames, 2);
  EXPECT_EQ(request.width, 64);
  EXPECT_EQ(request.frames, 20);
}

TEST(Scenes, AreManyItemsByAlternativesMatrixAndCount) {
  const auto alternatives =
      plan_of("jobs: [{seed: 1, scenes: [\"a {red|white} fox\", \"it {runs|sleeps}\"]}]");
  ASSERT_EQ(alternatives.items.size(), 4u);
  EXPECT_EQ(prompt_of(alternatives.items[1].parameters), "a red fox / it sleeps");
  EXPECT_EQ(prompt_of(alternatives.items[2].parameters), "a white fox / it runs");
  const auto zipped = plan_of(
      "jobs: [{seed: 1, expand: zip, scenes: [\"a {red|white} fox\", \"it {runs|sleeps}\"]}]");
  ASSERT_EQ(zipped.items.size(), 2u);
  EXPECT_EQ(prompt_of(zipped.items[1].parameters), "a white fox / it sleeps");
  const auto varied = plan_of(
      "jobs: [{count: 2, scenes: [a, b], matrix: {seed: [10, 20], transition: [cut, crossfade]}}]");
  ASSERT_EQ(varied.items.size(), 8u);
  EXPECT_EQ(varied.items[1].parameters["scenes"][0]["seed"], 11);
  EXPECT_EQ(varied.items[1].parameters["scenes"][1]["seed"], 12);
  EXPECT_EQ(varied.items[2].parameters["frames"], 81 + 81 - 8);
}

TEST(Scenes, DecideTheItemsId) {
  const auto id = [](const std::string& job) {
    return plan_of("jobs: [{seed: 1, frames: 9, " + job + "}]").items.at(0).id;
  };
  const std::string two = id("scenes: [a, b]");
  EXPECT_EQ(id("scenes: [a, {prompt: b}]"), two);
  EXPECT_EQ(id("scenes: [a, {prompt: b, frames: 9, seed: 2, transition: cut}]"), two);
  EXPECT_EQ(id("transition: cut, scenes: [{prompt: a, seed: 1}, b]"), two);
  EXPECT_NE(id("scenes: [b, a]"), two);
  EXPECT_NE(id("scenes: [a, {prompt: b, frames: 13}]"), two);
  EXPECT_NE(id("scenes: [a, {prompt: b, seed: 3}]"), two);
  EXPECT_NE(id("scenes: [a, {prompt: b, transition: crossfade}]"), two);
  EXPECT_NE(id("scenes: [a, {prompt: b, negative_prompt: n}]"), two);
}

TEST(Scenes, DoNotChangeTheIdsOfOtherClips) {
  const Json p = plan_of("jobs: [{prompt: a, seed: 1}]").items.at(0).parameters;
  for (const char* key : {"scenes", "transition", "transition_frames"})
    EXPECT_FALSE(p.contains(key)) << key;
}

TEST(Scenes, DrawSeedsThatStay) {
  const std::string jobs = "jobs: [{scenes: [a, {prompt: b, seed: 3}, c]}]";
  const Json scenes = plan_of(jobs).items.at(0).parameters["scenes"];
  EXPECT_EQ(plan_of(jobs).items.at(0).parameters["scenes"], scenes);
  EXPECT_EQ(scenes[1]["seed"], 3);
  EXPECT_EQ(scenes[2]["seed"].get<uint64_t>(), scenes[0]["seed"].get<uint64_t>() + 2);
}

TEST(Scenes, AreTheSameFromTheResolvedSpec) {
  const SpecWorld world;
  const auto plan = plan_of(
      "defaults: {frames: 9}\njobs: [{seed: 1, scenes: [\"{a|b}\", {prompt: c, transition: "
      "crossfade, transition_frames: 2}]}]");
  Json again = plan.spec;
  again["model"] = (world.folder() / "model").string();
  const auto replanned = world.plan_clips(read_spec(world.write("again.yaml", again.dump())));
  ASSERT_EQ(replanned.items.size(), plan.items.size());
  for (size_t i = 0; i < plan.items.size(); ++i) EXPECT_EQ(replanned.items[i].id, plan.items[i].id);
}

TEST(Scenes, ComeFromTablesAndOptionsToo) {
  const SpecWorld world;
  world.write("clips.jsonl", R"({"scenes": ["a", {"prompt": "b", "frames": 9}], "seed": 1})"
                             "\n");
  const auto rows = world.plan_clips(head + std::string("jobs: [{prompts_from: clips.jsonl}]"));
  EXPECT_EQ(rows.items.at(0).parameters["frames"], 81 + 9);

  const std::string jobs = "jobs: [{seed: 1, frames: 9, scenes: [a, {prompt: b}]}]";
  const auto set = world.plan_clips(
      world.read(head + jobs, {"jobs[0].scenes[1].prompt=1984", "jobs[0].scenes[1].frames=13",
                               "jobs[0].transition=crossfade", "jobs[0].transition_frames=2"}));
  EXPECT_EQ(prompt_of(set.items.at(0).parameters), "a / 1984");
  EXPECT_EQ(set.items.at(0).parameters["frames"], 20);

  const Json fields = {{"model", (world.folder() / "model").string()},
                       {"task", "text-to-video"},
                       {"seed", "3"},
                       {"scenes", {"a fox", "a hare"}}};
  const auto quick = quick_spec(fields, {});
  EXPECT_EQ(quick.name, "a-fox");
  EXPECT_EQ(prompt_of(world.plan_clips(quick).items.at(0).parameters), "a fox / a hare");
  Json as_text = fields;
  as_text["scenes"] = R"(["a fox", {"prompt": "a hare"}])";
  EXPECT_EQ(world.plan_clips(quick_spec(as_text, {})).items.at(0).id,
            world.plan_clips(quick).items.at(0).id);
}

TEST(Scenes, AreRefusedWhereTheyAreWrong) {
  expect_error("jobs:\n- scenes: []\n", "5:11: scenes is empty; give a prompt");
  expect_error("jobs:\n- scenes: a fox\n", "5:11: scenes is text; give a list");
  expect_error("jobs:\n- scenes: [a, 7]\n",
               "5:15: scenes entry 2 is a whole number; give a prompt");
  expect_error("jobs:\n- scenes: [{frames: 9}]\n", "5:12: scenes entry 1 has no prompt; add");
  expect_error("jobs:\n- scenes: [{prompt: null}]\n", "5:12: scenes entry 1 has no prompt; add");
  expect_error("jobs:\n- scenes: [a, {prompt: 7}]\n",
               "5:24: scenes entry 2: prompt is a whole number (7); put text in quotes");
  expect_error("jobs:\n- scenes:\n  - a\n  - prompt: b\n    frames: 0\n",
               "8:13: scenes entry 2: frames is 0; give a whole number from 1");
  expect_error("jobs:\n- scenes: [\"a {red|white\"]\n",
               "5:12: scenes entry 1: prompt has a '{' without its '}'; close it");
  expect_error("jobs:\n- scenes: [{promt: a}]\n",
               "5:13: scenes entry 1 has an unknown field promt; did you mean prompt?");
  expect_error("jobs:\n- scenes: [{prompt: a, steps: 4}]\n",
               "5:24: scenes entry 1 has steps, which all scenes share; move it to the job");
  expect_error(
      "jobs:\n- scenes: [a, {prompt: b, start: last_frame}]\n",
      "5:27: scenes entry 2 has start, and text-to-video models begin with noise, not with "
      "a picture; remove it; `transition: crossfade`");
  expect_error("jobs:\n- scenes: [a, {prompt: b, transition: wipe}]\n",
               "5:39: scenes entry 2: transition is \"wipe\"; give one of cut, crossfade");
  std::string many = "jobs:\n- scenes: [a";
  for (size_t i = 0; i < most_scenes; ++i) many += ", a";
  expect_error(many + "]\n", "5:11: scenes has 101 entries; give at most 100");
}

TEST(Scenes, AreRefusedWhereTheyDoNotGoTogether) {
  expect_error("jobs:\n- prompt: a\n  scenes: [b]\n",
               "5:11: prompt and scenes are given, which have their own prompts; remove one");
  expect_error("jobs:\n- scenes: [b]\n  matrix: {prompt: [a]}\n",
               "5:3: prompt and scenes are given");
  expect_error("jobs:\n- matrix: {scenes: [[a]]}\n", "5:12: scenes can't vary in a matrix");
  expect_error("jobs:\n- scenes: [{prompt: a, frames: 1}]\n", "5:32: scene 1 has 1 frame; give 5");
  expect_error("jobs:\n- frames: 1\n  scenes: [a]\n", "5:11: scene 1 has 1 frame; give 5");
  expect_error("jobs:\n- scenes: [a, {prompt: b, frames: 48}]\n",
               "5:35: scene 2 has 48 frames, and this model makes 4 N + 1; the nearest are 45 and "
               "49");
  expect_error("jobs:\n- scenes: [a, {prompt: b, frames: 2}]\n",
               "5:35: scene 2 has 2 frames, and this model makes 4 N + 1; the nearest is 5");
  expect_error(
      "jobs:\n- frames: 9\n  transition: crossfade\n  transition_frames: 9\n"
      "  scenes: [a, b]\n",
      "7:22: scene 1 has 9 frames, and shares 9 of them in cross-fades; give "
      "transition_frames of at most 8, or a longer scene");
  expect_error("jobs:\n- frames: 9\n  transition: crossfade\n  scenes: [a, b, c]\n",
               "7:15: scene 2 has 9 frames, and shares 16 of them in cross-fades; give "
               "transition_frames of at most 4, or a longer scene");
  EXPECT_EQ(error_of("jobs:\n- frames: 9\n  transition: crossfade\n  transition_frames: 4\n"
                     "  scenes: [a, b, c]\n"),
            "");
  expect_error("jobs:\n- scenes: [{prompt: a, transition: cut}, b]\n",
               "5:36: scene 1 has transition, and there is no scene before it");
  expect_error("jobs:\n- scenes: [a, {prompt: b, transition_frames: 4}]\n",
               "5:46: scene 2 begins with a cut, which takes no frames");
  expect_error("jobs:\n- transition_frames: 4\n  scenes: [a, b]\n",
               "5:22: transition_frames is for scenes that cross-fade, and none asks");
  expect_error("jobs:\n- transition: cut\n  scenes: [a]\n",
               "5:15: transition is between scenes, and there is one");
  expect_error("jobs:\n- prompt: a\n  transition: crossfade\n",
               "6:15: transition is between scenes, and this job has none; add `scenes:`, or");
  EXPECT_EQ(error_of("defaults: {transition: crossfade}\n"
                     "jobs: [{prompt: a, transition: null}, {scenes: [a, b]}]\n"),
            "");
  expect_error("jobs:\n- seed: 18446744073709551615\n  scenes: [a, b]\n",
               "5:9: seed 18446744073709551615 + count 1 + scenes 2 is over 2^64-1");
  expect_error("jobs:\n- scenes: [a, b]\n  count: 2\n  enhance: {model: model}\n",
               "5:11: an enhance stage makes one prompt rich, and a job has scenes; write "
               "`enhance: false`");
  expect_error("jobs:\n- count: 2\n  scenes: [{prompt: a, seed: 1}]\n",
               "5:3: item 1 (job-1) is the same as item 0 (job-1): seed 1, prompt \"a\"");
}

TEST(Scenes, AreOfVideosAlone) {
  const SpecWorld world;
  EXPECT_EQ(world.error("jobs: [{scenes: [a]}]"),
            "3:9: scenes has no meaning for this task; write `task: text-to-video`, or remove it");
}

}  // namespace
}  // namespace backlot
