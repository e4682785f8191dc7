#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <set>

#include "base/sha256.h"
#include "spec/alternatives.h"
#include "spec/document.h"
#include "spec/output_names.h"
#include "spec_world.h"

namespace backlot {
namespace {

std::vector<std::string> column(const Plan& plan, const std::string& field) {
  std::vector<std::string> out;
  for (const auto& item : plan.items)
    out.push_back(item.parameters[field].is_string() ? item.parameters[field].get<std::string>()
                                                     : item.parameters[field].dump());
  return out;
}

std::vector<std::string> ids(const Plan& plan) {
  std::vector<std::string> out;
  for (const auto& item : plan.items) out.push_back(item.id);
  return out;
}

using Strings = std::vector<std::string>;

TEST(Alternatives, ReadBracesBarsAndEscapes) {
  const auto all = [](std::string_view text) {
    const Alternatives alternatives(text);
    Strings out;
    for (uint64_t i = 0; i < alternatives.count(); ++i) out.push_back(alternatives.text(i));
    return out;
  };
  EXPECT_EQ(all("plain | text"), Strings{"plain | text"});
  EXPECT_EQ(all("{a|b} {c|d}"), (Strings{"a c", "a d", "b c", "b d"}));
  EXPECT_EQ(all("x{|y{1|2}}z"), (Strings{"xz", "xy1z", "xy2z"}));
  EXPECT_EQ(all("{one}"), Strings{"one"});
  EXPECT_EQ(all("\\{a\\|b\\} \\(c\\) {p\\|q|r}"),
            (Strings{"{a|b} \\(c\\) p|q", "{a|b} \\(c\\) r"}));
  EXPECT_EQ(Alternatives("{a|b}{c|d|e}").groups(), (std::vector<uint64_t>{2, 3}));
  std::string huge;
  for (int i = 0; i < 100; ++i) huge += "{a|b}";
  EXPECT_EQ(Alternatives(huge).count(), UINT64_MAX);
  EXPECT_THROW(Alternatives(std::string(100000, '{')), Problem);
}

TEST(Alternatives, EscapedTextStandsForItself) {
  EXPECT_TRUE(rc::check([](const std::string& given) {
    std::string text = given + "{a|\\b}";
    text.erase(std::remove(text.begin(), text.end(), '\\'), text.end());
    const Alternatives alternatives(escape_alternatives(text));
    RC_ASSERT(alternatives.count() == 1u);
    RC_ASSERT(alternatives.text(0) == text);
  }));
}

TEST(Plan, OrdersAlternativesMatrixAndCount) {
  const SpecWorld world;
  const auto plan = world.plan(
      "jobs:\n- {prompt: 'a {x|y}', matrix: {steps: [1, 2], seed: [10, 20]}, count: 2}\n"
      "- {prompt: b, seed: 1}");
  EXPECT_EQ(column(plan, "seed"), (Strings{"10", "11", "20", "21", "10", "11", "20", "21", "10",
                                           "11", "20", "21", "10", "11", "20", "21", "1"}));
  EXPECT_EQ(plan.items[4].parameters["steps"], 2);
  EXPECT_EQ(plan.items[7].parameters["prompt"], "a x");
  EXPECT_EQ(plan.items[8].parameters["prompt"], "a y");
  EXPECT_EQ(plan.items[16].job, "job-2");
  EXPECT_EQ(plan.items[16].index, 16);
}

TEST(Plan, ZipsAlternativesWithTheMatrix) {
  const SpecWorld world;
  const auto plan = world.plan(
      "jobs:\n- {prompt: '{a|b|c} {only}', matrix: {seed: [1, 2, 3], negative_prompt: ['{x|y}', "
      "z]}, "
      "expand: zip, count: 2}");
  EXPECT_EQ(column(plan, "prompt"),
            (Strings{"a only", "a only", "b only", "b only", "c only", "c only"}));
  EXPECT_EQ(column(plan, "negative_prompt"), (Strings{"x", "x", "y", "y", "z", "z"}));
  EXPECT_EQ(column(plan, "seed"), (Strings{"1", "2", "2", "3", "3", "4"}));
}

// Counts before building, with products far beyond what fits.
TEST(Plan, RefusesTooManyItemsBeforeBuildingAny) {
  const SpecWorld world;
  std::string huge;
  for (int i = 0; i < 80; ++i) huge += "{a|b}";
  EXPECT_TRUE(world.error("jobs: [{prompt: '" + huge + "', count: 1000000}]")
                  .starts_with("3:8: the spec expands to more than 18446744073709551614 items"));
}

std::string yaml_text(const std::string& text) { return Json(text).dump(); }

// A job with random alternatives, matrix and count; returns how many items it must give.
struct RandomJob {
  std::string yaml;
  uint64_t items;
};

RandomJob random_job(int number, bool zip) {
  const int groups = *rc::gen::inRange(0, 3), axes = *rc::gen::inRange(0, 3);
  const int count = *rc::gen::inRange(1, 4);
  const int length = *rc::gen::inRange(2, 4);
  uint64_t combinations = 1;
  std::string prompt = "job " + std::to_string(number);
  const auto size = [&] {
    const int chosen = zip ? length : *rc::gen::inRange(1, 4);
    combinations = zip ? length : combinations * chosen;
    return chosen;
  };
  for (int g = 0; g < groups; ++g) {
    prompt += " {";
    for (int i = 0, n = size(); i < n; ++i) prompt += (i ? "|w" : "w") + std::to_string(i);
    prompt += "}";
  }
  constexpr const char* names[] = {"steps", "guidance_scale"};
  std::string matrix;
  for (int a = 0; a < axes; ++a) {
    matrix += std::string(a ? ", " : "") + names[a] + ": [";
    for (int i = 0, n = size(); i < n; ++i) matrix += (i ? ", " : "") + std::to_string(i + 1);
    matrix += "]";
  }
  return {"- {prompt: " + yaml_text(prompt) + ", matrix: {" + matrix + "}, count: " +
              std::to_string(count) + ", expand: " + (zip ? "zip" : "product") + "}\n",
          combinations * count};
}

TEST(Plan, IsWhatTheCountSaysAndTheSameEachTime) {
  const SpecWorld world;
  EXPECT_TRUE(rc::check([&] {
    std::string jobs = "jobs:\n";
    uint64_t expected = 0;
    for (int i = 0, n = *rc::gen::inRange(1, 4); i < n; ++i) {
      const auto job = random_job(i, *rc::gen::arbitrary<bool>());
      jobs += job.yaml;
      expected += job.items;
    }
    const auto document = world.read(jobs);
    const Plan plan = world.plan(document);
    RC_ASSERT(count_items(document) == expected);
    RC_ASSERT(plan.items.size() == expected);
    std::set<std::string> distinct, outputs;
    for (const auto& item : plan.items) {
      distinct.insert(item.id);
      outputs.insert(item.output);
    }
    RC_ASSERT(distinct.size() == expected);
    RC_ASSERT(outputs.size() == expected);
    RC_ASSERT(ids(world.plan(jobs)) == ids(plan));
    const auto again = read_spec(world.write("again.yaml", plan.spec.dump()));
    RC_ASSERT(ids(world.plan(again)) == ids(plan));
  }));
}

TEST(Plan, SpecAsResolvedGivesTheSameItems) {
  const SpecWorld world;
  make_folders(world.folder() / "vae");
  world.write("vae/config.json", "{}");
  world.write("t.csv", "prompt,seed\na,1\nb,\n");
  const Plan plan = world.plan(
      world.read("preset: image_fast\nname: x\ndefaults: {negative_prompt: null, vae: vae}\njobs:\n"
                 "- {id: q, prompt: 'a \\{ {x|y}', matrix: {negative_prompt: [null, '']}}\n"
                 "- {prompts_from: t.csv, negative_prompt: '', steps: 3}\n"
                 "output: {max_bytes: 1MB, format: webp, dir: /tmp/elsewhere}",
                 {"defaults.steps=7"}));
  const std::string text = plan.spec.dump();
  EXPECT_EQ(text.find(world.folder().string()), std::string::npos);
  EXPECT_EQ(text.find("/tmp"), std::string::npos);
  const auto again = world.plan(read_spec(world.write("again.json", text)));
  EXPECT_EQ(ids(again), ids(plan));
  EXPECT_EQ(again.items[0].output, plan.items[0].output);
  EXPECT_EQ(again.spec["jobs"], plan.spec["jobs"]);
}

TEST(Plan, DerivesMissingSeedsFromTheItem) {
  const SpecWorld world;
  const std::string jobs = "jobs:\n- {prompt: a, count: 3}\n- {prompt: a}\n- {prompt: b}";
  const auto seeds = column(world.plan(jobs), "seed");
  const uint64_t first = std::stoull(seeds[0]);
  EXPECT_LT(first, uint64_t{1} << 31);
  EXPECT_EQ(std::stoull(seeds[2]), first + 2);
  EXPECT_NE(seeds[3], seeds[0]);  // its like came before
  EXPECT_EQ(column(world.plan(jobs), "seed"), seeds);
  EXPECT_NE(column(world.plan(jobs, 2), "seed")[0], seeds[0]);
  // Another job in front changes nothing for the others.
  const auto later =
      column(world.plan("jobs:\n- {prompt: c}\n- {prompt: b}\n- {prompt: a}"), "seed");
  EXPECT_EQ(later[1], seeds[4]);
  EXPECT_EQ(later[2], seeds[0]);
}

TEST(Plan, IdsFollowWhatDecidesThePicture) {
  const SpecWorld world;
  const auto id = [&](const std::string& job) {
    return world.plan("jobs: [" + job + "]").items[0].id;
  };
  const std::string base = id("{prompt: a, seed: 1}");
  EXPECT_EQ(base, item_id(Task::text_to_image,
                          world.plan("jobs: [{prompt: a, seed: 1}]").items[0].parameters, "f"));
  EXPECT_EQ(id("{prompt: a, seed: 1, id: other}"), base);
  EXPECT_EQ(id("{prompt: a, seed: 1, guidance_scale: 5}"), base);  // 5 and the default 5.0
  EXPECT_EQ(id("{prompt: a, seed: 1, width: 128, original_size: [64, 128]}"), base);
  EXPECT_EQ(id("{prompt: a, seed: 1, negative_prompt: null}"), base);
  EXPECT_NE(id("{prompt: a, seed: 1, negative_prompt: ''}"), base);
  EXPECT_NE(id("{prompt: a, seed: 1, variant: fp16}"), base);
  // A VAE counts by name and content, not by place.
  world.write("vae/config.json", "{}");
  world.write("sub/vae/config.json", "{}");
  const std::string with_vae = id("{prompt: a, seed: 1, vae: vae}");
  EXPECT_NE(with_vae, base);
  EXPECT_EQ(id("{prompt: a, seed: 1, vae: sub/vae}"), with_vae);
  world.write("sub/vae/config.json", "{ }");
  EXPECT_NE(id("{prompt: a, seed: 1, vae: sub/vae}"), with_vae);
}

TEST(Plan, LooksAtEachModelOnce) {
  const SpecWorld world;
  int calls = 0;
  const auto document =
      world.read("jobs: [{prompt: a, matrix: {variant: [null, fp16], seed: [1, 2, 3]}}]");
  make_plan(document, {.model_facts = [&](const fs::path& model, const auto&) {
              ++calls;
              EXPECT_EQ(model, world.folder() / "model");
              return ModelFacts{.fingerprint = std::to_string(calls)};
            }});
  EXPECT_EQ(calls, 2);
}

TEST(Plan, PutsTheRunFolderWhereAsked) {
  const SpecWorld world;
  const auto document = world.read("jobs: [{prompt: a}]");
  const auto facts = [](const fs::path&, const auto&) { return ModelFacts{.fingerprint = "f"}; };
  EXPECT_EQ(make_plan(document, {.model_facts = facts}).run_folder, fs::current_path() / "out/s");
  EXPECT_EQ(make_plan(document, {.model_facts = facts, .output = "here"}).run_folder,
            fs::current_path() / "here");
}

TEST(ImageRequest, CarriesEveryField) {
  const SpecWorld world;
  const auto request = image_request(
      world
          .plan(
              "jobs:\n- {prompt: a, prompt_2: b, negative_prompt: '', seed: 18446744073709551615, "
              "steps: 3, guidance_scale: 2, guidance_rescale: 0.5, scheduler: euler, width: 64, "
              "height: 72, clip_skip: 1, long_prompt: chunk, prompt_weighting: true, "
              "vae_tiling: true, cache: 3, original_size: [1, 2], crops_coords_top_left: [3, 4], "
              "negative_target_size: [5, 6], negative_crops_coords_top_left: [7, 8]}")
          .items[0]);
  EXPECT_EQ(request.prompt, "a");
  EXPECT_EQ(request.prompt_2, "b");
  EXPECT_EQ(request.negative_prompt, "");
  EXPECT_EQ(request.negative_prompt_2, std::nullopt);
  EXPECT_EQ(request.seed, UINT64_MAX);
  EXPECT_EQ(request.steps, 3);
  EXPECT_EQ(request.guidance_scale, 2.0);
  EXPECT_EQ(request.guidance_rescale, 0.5);
  EXPECT_EQ(request.scheduler, "euler");
  EXPECT_EQ(request.width, 64);
  EXPECT_EQ(request.height, 72);
  EXPECT_EQ(request.clip_skip, 1);
  EXPECT_EQ(request.cache, 3);
  EXPECT_TRUE(request.chunk_long_prompts && request.prompt_weighting && request.vae_tiling);
  EXPECT_EQ(request.original_size, (Size{1, 2}));
  EXPECT_EQ(request.target_size, (Size{72, 64}));
  EXPECT_EQ(request.negative_original_size, std::nullopt);
  EXPECT_EQ(request.negative_target_size, (Size{5, 6}));
  EXPECT_EQ(request.crops_coords_top_left, (Size{3, 4}));
  EXPECT_EQ(request.negative_crops_coords_top_left, (Size{7, 8}));
  const auto plain = image_request(world.plan("jobs: [{prompt: a}]").items[0]);
  EXPECT_EQ(plain.negative_prompt, std::nullopt);
  EXPECT_EQ(plain.guidance_scale, 5.0);
  EXPECT_EQ(plain.steps, 50);
  EXPECT_EQ(plain.cache, 1);
  EXPECT_TRUE(plain.scheduler.is_null());
  EXPECT_EQ(plain.original_size, (Size{64, 128}));
}

}  // namespace
}  // namespace backlot
