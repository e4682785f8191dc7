#include "spec/enhance_stage.h"

#include <gtest/gtest.h>

#include "spec/item_json.h"
#include "spec_world.h"

namespace backlot {
namespace {

class EnhanceStages : public ::testing::Test {
 protected:
  EnhanceStages() { make_folders(world_.folder() / "writer"); }

  Plan plan(const std::string& rest) const {
    return make_plan(world_.read(rest),
                     {.model_facts = [](const fs::path&, const auto&) { return ModelFacts{"f"}; },
                      .language_model = [](const fs::path&) { return "w"; },
                      .base_seed = 1});
  }
  std::string error(const std::string& rest) const {
    try {
      plan(rest);
      return "";
    } catch (const Error& error) {
      std::string line = error.what();
      const std::string file = (world_.folder() / "s.yaml").string() + ":";
      return line.erase(line.find(file), file.size());
    }
  }
  SpecWorld world_;
};

TEST_F(EnhanceStages, EveryItemNamesItsText) {
  const Plan made = plan(
      "enhance: {model: writer, style: anime, temperature: 0.9, seed: 5}\n"
      "jobs: [{prompt: a fox, seed: 1, count: 2}, {prompt: a hen, seed: 1}]");
  ASSERT_EQ(made.items.size(), 3u);
  ASSERT_EQ(made.texts.size(), 2u);
  EXPECT_EQ(made.items[0].text_id, made.texts[0].id);
  EXPECT_EQ(made.items[1].text_id, made.texts[0].id);
  EXPECT_EQ(made.items[2].text_id, made.texts[1].id);
  EXPECT_EQ(made.texts[1].prompt, "a hen");
  EXPECT_EQ(made.texts[1].seed, 5u);
  EXPECT_EQ(made.texts[1].style->name, "anime");
  EXPECT_EQ(made.texts[1].sampling.temperature, 0.9);
  EXPECT_EQ(made.texts[1].sampling.top_p, made.texts[1].style->sampling.top_p);
  EXPECT_EQ(made.texts[1].model, world_.folder() / "writer");
  const Json& how = made.items[0].parameters["enhance"];
  EXPECT_EQ(how["model"], Json({{"path", "writer"}, {"fingerprint", "w"}}));
  EXPECT_EQ(how["style"]["path"], "anime");
  EXPECT_EQ(how["temperature"], 0.9);
  EXPECT_EQ(made.items[0].parameters["prompt"], "a fox");
}

TEST_F(EnhanceStages, VariantsMultiplyItems) {
  const std::string rest =
      "enhance: {model: writer, variants: 3}\njobs: [{prompt: a fox, seed: 1, count: 2}]";
  const Plan made = plan(rest);
  EXPECT_EQ(count_items(world_.read(rest)), 6u);
  ASSERT_EQ(made.items.size(), 6u);
  ASSERT_EQ(made.texts.size(), 3u);
  EXPECT_EQ(made.texts[2].seed, 2u);
  EXPECT_EQ(made.items[5].text_id, made.texts[2].id);
}

TEST_F(EnhanceStages, JobsLayTheirOwnOverTheSpecs) {
  const Plan made = plan(
      "enhance: {model: writer, style: anime}\n"
      "jobs: [{prompt: a fox}, {prompt: a hen, enhance: {style: product}}, "
      "{prompt: a cow, enhance: false}, {prompt: a pig, enhance: null}]");
  ASSERT_EQ(made.texts.size(), 2u);
  EXPECT_EQ(made.texts[0].style->name, "anime");
  EXPECT_EQ(made.texts[1].style->name, "product");
  EXPECT_EQ(made.items[2].text_id, "");
  EXPECT_FALSE(made.items[3].parameters.contains("enhance"));
}

TEST_F(EnhanceStages, IdsFollowWhatDecidesAText) {
  const auto id = [&](const std::string& stage) {
    return plan("enhance: " + stage + "\njobs: [{prompt: a fox, seed: 1}]").items[0].id;
  };
  const std::string plain = id("{model: writer}");
  EXPECT_EQ(id("{model: writer, style: image-fast, seed: 0}"), plain);
  EXPECT_NE(id("{model: writer, seed: 1}"), plain);
  EXPECT_NE(id("{model: writer, style: anime}"), plain);
  EXPECT_NE(id("{model: writer, top_k: 7}"), plain);
  EXPECT_NE(plan("jobs: [{prompt: a fox, seed: 1}]").items[0].id, plain);
}

TEST_F(EnhanceStages, TheResolvedSpecGivesTheSamePlan) {
  const Plan made = plan(
      "enhance: {model: writer, variants: 2, top_k: 9}\n"
      "jobs: [{prompt: a fox, seed: 1}, {prompt: a hen, seed: 1, enhance: false}]");
  const Plan again =
      make_plan(read_spec(world_.write("again.yaml", made.spec.dump(1))),
                {.model_facts = [](const fs::path&, const auto&) { return ModelFacts{"f"}; },
                 .language_model = [](const fs::path&) { return "w"; },
                 .base_seed = 1});
  ASSERT_EQ(again.items.size(), made.items.size());
  for (size_t i = 0; i < made.items.size(); ++i) EXPECT_EQ(again.items[i].id, made.items[i].id);
}

TEST_F(EnhanceStages, TheTextIsWhatIsRendered) {
  Item item = plan("enhance: {model: writer}\njobs: [{prompt: a fox, seed: 1}]").items[0];
  EXPECT_THROW(image_request(item), ItemError);
  item.enhanced_prompt = "a red fox in the snow";
  const Item sent = item_from_json(to_json(item));
  EXPECT_EQ(image_request(sent).prompt, "a red fox in the snow");
  EXPECT_EQ(sent.text_id, item.text_id);
  EXPECT_EQ(rendered_parameters(sent)["prompt"], "a red fox in the snow");
  EXPECT_EQ(rendered_parameters(sent)["enhance"]["prompt"], "a fox");
  EXPECT_EQ(sent.parameters["prompt"], "a fox");
}

class TextSpecs : public EnhanceStages {};

const std::string texts = "task: enhance\n";

TEST_F(TextSpecs, EveryItemIsAText) {
  const Plan made = plan(texts +
                         "defaults: {style: anime, top_k: 9, stop: END}\n"
                         "jobs: [{prompt: \"a {red|blue} fox\", seed: 5, count: 2}]");
  EXPECT_EQ(made.task, Task::enhance);
  EXPECT_EQ(made.output.format, "txt");
  ASSERT_EQ(made.items.size(), 4u);
  ASSERT_EQ(made.texts.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(made.items[i].text_id, made.items[i].id);
    EXPECT_EQ(made.texts[i].id, made.items[i].id);
    EXPECT_EQ(made.items[i].model_fingerprint, "w");
  }
  EXPECT_EQ(made.items[3].output, "texts/00003-a-blue-fox-6.txt");
  EXPECT_EQ(made.texts[3].seed, 6u);
  EXPECT_EQ(made.texts[3].sampling.stop, std::vector<std::string>{"END"});
  EXPECT_EQ(made.items[3].parameters["stop"], Json({"END"}));
  EXPECT_EQ(made.items[3].parameters["style"]["path"], "anime");
  EXPECT_EQ(made.items[3].parameters["top_k"], 9);
}

TEST_F(TextSpecs, AStageAndATaskMakeTheSameText) {
  const std::string how = "style: anime, seed: 5, temperature: 0.4";
  const Plan stage = plan("enhance: {model: model, " + how + "}\njobs: [{prompt: a fox}]");
  const Plan task = plan(texts + "jobs: [{prompt: a fox, " + how + "}]");
  EXPECT_EQ(stage.texts[0].id, task.items[0].id);
}

TEST_F(TextSpecs, SeedsThatNobodyGaveAreDrawnOnce) {
  const std::string rest = texts + "jobs: [{prompt: a fox}, {prompt: a hen}, {prompt: a fox}]";
  const Plan made = plan(rest);
  ASSERT_EQ(made.items.size(), 3u);
  EXPECT_NE(made.texts[0].seed, made.texts[2].seed);
  EXPECT_EQ(plan(rest).items[2].id, made.items[2].id);
}

TEST_F(TextSpecs, ChatsNeedNoPrompt) {
  const Plan made = plan(
      texts +
      "jobs: [{messages: [{role: system, content: Be brief.}, {role: user, content: Hi there}], "
      "seed: 1}]");
  ASSERT_EQ(made.items.size(), 1u);
  EXPECT_EQ(made.texts[0].messages.size(), 2u);
  EXPECT_EQ(made.texts[0].prompt, "Hi there");
  EXPECT_EQ(made.texts[0].style, nullptr);
  EXPECT_EQ(made.items[0].output, "texts/00000-hi-there-1.txt");
  EXPECT_FALSE(made.items[0].parameters.contains("style"));
}

TEST_F(TextSpecs, TheResolvedSpecGivesTheSamePlan) {
  world_.write("chats.jsonl", "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}\n");
  const Plan made = plan(texts +
                         "jobs: [{prompt: a fox, matrix: {style: [anime, product]}}, "
                         "{prompts_from: chats.jsonl, stop: [a, b]}]");
  ASSERT_EQ(made.items.size(), 3u);
  const Plan again =
      make_plan(read_spec(world_.write("again.yaml", made.spec.dump(1))),
                {.language_model = [](const fs::path&) { return "w"; }, .base_seed = 1});
  ASSERT_EQ(again.items.size(), made.items.size());
  for (size_t i = 0; i < made.items.size(); ++i) EXPECT_EQ(again.items[i].id, made.items[i].id);
}

TEST_F(TextSpecs, MistakesHaveTheirPlace) {
  const auto in_job = [&](const std::string& job) {
    return error(texts + "jobs: [{" + job + "}]");
  };
  EXPECT_EQ(in_job("prompt: a fox, steps: 3"),
            "4:24: steps has no meaning for this task; remove it");
  EXPECT_EQ(in_job("seed: 3"), "4:8: prompt is missing; add `prompt: …`");
  EXPECT_EQ(in_job("prompt: a fox, messages: [{role: user, content: Hi}]"),
            "4:17: prompt and messages are given; remove one of the two");
  EXPECT_EQ(in_job("messages: []"),
            "4:19: messages is empty; give a list of {role: system, user or assistant, content: "
            "text}");
  EXPECT_EQ(in_job("messages: [{role: bot, content: Hi}]"),
            "4:19: messages has the role \"bot\"; give one of system, user, assistant");
  EXPECT_EQ(in_job("style: anime, messages: [{role: user, content: Hi}]"),
            "4:16: style has no say in messages, which are answered as they are; remove it, or "
            "write `style: null` in the job");
  EXPECT_EQ(in_job("prompt: a fox, stop: ''"), "4:30: stop holds an empty text; remove it");
  EXPECT_EQ(in_job("prompt: a fox, count: 2, temperature: 0"),
            "4:8: with a temperature of 0 all variants are the same; give a temperature above 0, "
            "or count: 1");
  EXPECT_EQ(in_job("prompt: a fox, enhance: {style: anime}"),
            "4:24: enhance is a stage before pictures, and this task makes texts; put what is in "
            "it into `defaults:` or the jobs, and its model to the top");
  const std::string jobs = "jobs: [{prompt: a fox}]";
  EXPECT_EQ(error(texts + "output: {format: png}\n" + jobs),
            "4:18: texts have the format txt; leave it out");
  EXPECT_EQ(error("output: {format: txt}\n" + jobs),
            "3:18: the format txt is for texts; use png, jpeg or webp");
  EXPECT_EQ(error(texts + "output: {quality: 3}\n" + jobs),
            "4:10: quality is for pictures; remove it");
  EXPECT_EQ(error(texts + "output: {name: 'a-{width}'}\n" + jobs),
            "4:16: name has the field {width}, which texts don't have; use {index}, {slug} or "
            "{seed}");
  EXPECT_EQ(error("jobs: [{prompt: a fox, messages: [{role: user, content: Hi}]}]"),
            "3:24: messages has no meaning for this task; write `task: enhance`, or remove it");
}

TEST_F(EnhanceStages, MistakesHaveTheirPlace) {
  const std::string jobs = "\njobs: [{prompt: a fox}]";
  EXPECT_EQ(error("enhance: {style: anime}" + jobs),
            "3:10: no language model is named; add `model: DIR` to enhance");
  EXPECT_EQ(error("enhance: {model: writer, stile: anime}" + jobs),
            "3:26: unknown key stile; did you mean style?");
  EXPECT_EQ(error("enhance: {model: writer, style: anim}" + jobs),
            "3:33: unknown style anim; did you mean anime?");
  EXPECT_EQ(error("enhance: {model: writer, top_p: 2}" + jobs),
            "3:33: top_p is 2; give a number from 0 to 1");
  EXPECT_EQ(error("enhance: {model: writer, variants: 0}" + jobs),
            "3:36: variants is not a whole number from 1 to 1000; say how many texts to make of "
            "each prompt");
  EXPECT_EQ(error("enhance: {model: writer, variants: 2, temperature: 0}" + jobs),
            "3:10: with a temperature of 0 all variants are the same; give a temperature above 0, "
            "or variants: 1");
  EXPECT_EQ(error("enhance: yes" + jobs),
            "3:10: enhance is a mapping, not text; write `enhance: "
            "{model: DIR, style: cinematic}`");
  EXPECT_EQ(world_.error("enhance: {model: writer}" + jobs),
            "3:10: the enhance stage is not available here; remove it, or use a version of "
            "backlot that has it");
}

}  // namespace
}  // namespace backlot
