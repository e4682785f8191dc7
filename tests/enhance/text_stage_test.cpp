#include "enhance/text_stage.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "base/sha256.h"
#include "enhance/check.h"
#include "support/schema.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

const std::string rich = " in the soft light of an early morning, drawn with care and patience";

// Makes every prompt rich; ends like a killed process after `lives` texts.
class Writer : public TextMaker {
 public:
  Writer(int64_t& made, int64_t lives, bool good) : made_(made), lives_(lives), good_(good) {}
  void make(std::span<const TextRequest> requests,
            const std::function<void(size_t, MadeText)>& done) override {
    for (size_t i = 0; i < requests.size(); ++i) {
      if (lives_-- == 0) throw Interrupted();
      ++made_;
      MadeText text;
      text.text = good_ ? requests[i].messages.back()["content"].get<std::string>() + rich +
                              (requests[i].seed % 2 ? " at dawn" : "")
                        : "Sorry.";
      text.finish_reason = "stop";
      text.tokens = 9;
      done(i, std::move(text));
    }
  }

 private:
  int64_t& made_;
  int64_t lives_;
  bool good_;
};

struct World {
  explicit World(int64_t prompts) {
    auto style = std::make_shared<Style>();
    style->name = "test";
    style->system = "Rewrite.";
    style->sha256 = "s";
    plan.name = "texts";
    plan.spec = {{"version", 1}, {"jobs", Json::array()}};
    for (int64_t i = 0; i < prompts; ++i) {
      PlannedText text;
      text.prompt = "fruit number " + std::to_string(i);
      text.id = sha256_hex(text.prompt);
      text.model = "/models/writer";
      text.style = style;
      text.retries = 1;
      text.seed = 4;
      for (int copy = 0; copy < 2; ++copy) {
        Item item;
        item.id = sha256_hex(text.id + std::to_string(copy));
        item.index = std::ssize(plan.items);
        item.job = "job-1";
        item.model = "/models/painter";
        item.parameters = {{"prompt", text.prompt}, {"seed", copy}};
        item.output = "images/" + std::to_string(item.index) + ".png";
        item.text_id = text.id;
        plan.items.push_back(item);
      }
      plan.texts.push_back(std::move(text));
    }
  }

  RunFolder open() {
    RunInfo info;
    info.backlot_version = "0.1.0";
    info.models = {{"/models/painter", std::string(64, 'a'), {}}};
    info.base_seed = RunFolder::base_seed(folder / "run");
    return RunFolder::open(folder / "run", plan, info);
  }

  LoadTextMaker load(int64_t lives = -1, bool good = true) {
    return [this, lives, good](const fs::path&) {
      ++loads;
      return std::make_unique<Writer>(made, lives, good);
    };
  }

  TemporaryFolder folder;
  Plan plan;
  int64_t made = 0, loads = 0;
};

TEST(TextStage, MakesEachTextOnceForAllItsItems) {
  World world(3);
  RunFolder folder = world.open();
  const TextTotals totals = make_texts(world.plan, folder, world.load());
  EXPECT_EQ(world.made, 3);
  EXPECT_EQ(totals.made, 3);
  EXPECT_EQ(totals.fell_back, 0);
  for (const auto& item : world.plan.items)
    EXPECT_EQ(item.enhanced_prompt, item.parameters["prompt"].get<std::string>() + rich);
}

// A model that brings a tokenizer of its own may make more tokens of a text than the shipped one.
TEST(TextStage, CountsWithTheTokenizerOfThePictureModel) {
  const fs::path model = fs::path(BACKLOT_SOURCE_DIR) / "models" / "pocket-xl";
  const std::string text = "fruit number 0" + rich;
  const auto shipped = token_counter(TextEncoder::clip);
  const auto own = token_counter(TextEncoder::clip, model / "tokenizer");
  ASSERT_GT(own(text), shipped(text));
  const auto made_for = [&](const fs::path& target) {
    World world(1);
    auto style = std::make_shared<Style>(*world.plan.texts[0].style);
    style->limits.max_tokens = shipped(text);
    world.plan.texts[0].style = style;
    for (auto& item : world.plan.items) item.model = target;
    RunFolder folder = world.open();
    make_texts(world.plan, folder, world.load());
    return world.plan.items[0].enhanced_prompt.value_or("");
  };
  EXPECT_EQ(made_for("/models/painter"), text);
  const std::string cut = made_for(model);
  EXPECT_LE(own(cut), shipped(text));
  EXPECT_EQ(text.find(cut), 0u) << cut;
}

TEST(TextStage, CountsWithTheTokenizerOfTheVideoModel) {
  const fs::path model = fs::path(BACKLOT_SOURCE_DIR) / "models" / "pocket-wan";
  const std::string text = "fruit number 0" + rich;
  const auto own = token_counter(TextEncoder::umt5, model / "tokenizer");
  // Letters of a vocabulary as small as that: more than the estimate says.
  ASSERT_GT(own(text), token_counter(TextEncoder::umt5)(text));
  World world(1);
  auto style = std::make_shared<Style>(*world.plan.texts[0].style);
  style->limits.encoder = TextEncoder::umt5;
  style->limits.max_tokens = own(text) - 1;
  world.plan.texts[0].style = style;
  for (auto& item : world.plan.items) item.model = model;
  RunFolder folder = world.open();
  make_texts(world.plan, folder, world.load());
  const std::string cut = world.plan.items[0].enhanced_prompt.value_or("");
  EXPECT_LT(own(cut), own(text));
  EXPECT_EQ(text.find(cut), 0u) << cut;
}

TEST(TextStage, AKilledRunMakesNoTextTwice) {
  World world(5);
  {
    RunFolder folder = world.open();
    EXPECT_THROW(make_texts(world.plan, folder, world.load(2)), Interrupted);
  }
  EXPECT_EQ(world.made, 2);
  {
    RunFolder folder = world.open();
    EXPECT_EQ(folder.findings().unreadable_lines, 0);
    const TextTotals totals = make_texts(world.plan, folder, world.load());
    EXPECT_EQ(totals.found, 2);
    EXPECT_EQ(totals.made, 3);
  }
  EXPECT_EQ(world.made, 5);
  EXPECT_EQ(world.loads, 2);
  RunFolder folder = world.open();
  EXPECT_EQ(make_texts(world.plan, folder, world.load()).found, 5);
  EXPECT_EQ(world.loads, 2);  // nothing to load a model for
  EXPECT_EQ(world.plan.items[9].enhanced_prompt, "fruit number 4" + rich);
}

TEST(TextStage, ChatsAreAnsweredAsTheyAre) {
  World world(2);
  world.plan.texts[1].messages = Json::array({{{"role", "user"}, {"content", "Hi"}}});
  world.plan.texts[1].style = nullptr;
  RunFolder folder = world.open();
  TextStageOptions how;
  std::vector<std::string> told;
  how.told = [&](const TextRecord& text, bool cached) {
    EXPECT_FALSE(cached);
    told.push_back(text.text);
  };
  // Refused in any style, but no answer to a chat.
  EXPECT_EQ(make_texts(world.plan, folder, world.load(-1, false), how).made, 2);
  EXPECT_EQ(world.made, 1 + 2);
  EXPECT_EQ(told, (std::vector<std::string>{"Sorry.", "fruit number 0"}));
  EXPECT_EQ(folder.text(world.plan.texts[1].id)->finish_reason, "stop");
}

TEST(TextStage, AChatThatCannotBeAnsweredIsTold) {
  struct Refusing : TextMaker {
    void make(std::span<const TextRequest>,
              const std::function<void(size_t, MadeText)>& done) override {
      MadeText text;
      text.error = "longer than the context";
      done(0, std::move(text));
    }
  };
  World world(1);
  world.plan.texts[0].messages = Json::array({{{"role", "user"}, {"content", "Hi"}}});
  world.plan.texts[0].style = nullptr;
  RunFolder folder = world.open();
  TextStageOptions how;
  std::string failed;
  how.failed = [&](const PlannedText& text, const std::string& error) {
    failed = text.prompt + ": " + error;
  };
  const auto load = [](const fs::path&) { return std::make_unique<Refusing>(); };
  EXPECT_EQ(make_texts(world.plan, folder, load, how).made, 0);
  EXPECT_EQ(failed, "fruit number 0: longer than the context");
  EXPECT_FALSE(folder.text(world.plan.texts[0].id));
}

TEST(TextStage, ItemsThatAreDoneNeedNoText) {
  World world(2);
  RunFolder folder = world.open();
  for (int i = 0; i < 2; ++i) {
    const Item& item = world.plan.items[i];
    folder.record_done(item, folder.write_output(item, "png"), 8, 8, Attempt{});
  }
  EXPECT_EQ(make_texts(world.plan, folder, world.load()).made, 1);
  EXPECT_FALSE(world.plan.items[0].enhanced_prompt);
  EXPECT_TRUE(world.plan.items[2].enhanced_prompt);
}

TEST(TextStage, TheManifestHoldsBothPrompts) {
  World world(2);
  RunFolder folder = world.open();
  const auto manifest = [&] {
    folder.write_manifest();
    return Json::parse(read_file(folder.path() / "manifest.json"));
  };
  EXPECT_EQ(manifest()["items"][0]["enhanced_prompt"], Json());
  make_texts(world.plan, folder, world.load(-1, false));
  const Json item = manifest()["items"][1];
  EXPECT_EQ(item["prompt"], "fruit number 0");
  EXPECT_EQ(item["enhanced_prompt"], "fruit number 0");
  EXPECT_EQ(item["enhancement"]["fell_back"], true);
  EXPECT_EQ(item["enhancement"]["tries"], 2);
  EXPECT_EQ(item["enhancement"]["note"],
            "the prompt is kept: after 2 tries the text is too short: 1 words of at least 10");
  EXPECT_EQ(item["parameters"]["prompt"], "fruit number 0");
  const Json schema =
      Json::parse(read_file(fs::path(BACKLOT_SOURCE_DIR) / "docs/schema/manifest.schema.json"));
  EXPECT_EQ(schema_problems(manifest(), schema), std::vector<std::string>{});
}

TEST(TextStage, TextsComeFromACache) {
  const TemporaryFolder shared;
  ResultCache cache(shared / "cache", {}, "0.1.0", [](const std::string& line) { FAIL() << line; });
  TextStageOptions options;
  options.cache = &cache;
  options.how = {"cpu", "float32", "none"};
  World first(2), second(3);
  {
    RunFolder folder = first.open();
    EXPECT_EQ(make_texts(first.plan, folder, first.load(), options).made, 2);
  }
  RunFolder folder = second.open();
  const TextTotals totals = make_texts(second.plan, folder, second.load(), options);
  EXPECT_EQ(totals.cached, 2);
  EXPECT_EQ(totals.made, 1);
  EXPECT_EQ(second.made, 1);
  EXPECT_EQ(folder.text(first.plan.texts[1].id)->text, "fruit number 1" + rich);
}

TEST(TextStage, StartingOverMakesTextsAnew) {
  World world(1);
  {
    RunFolder folder = world.open();
    make_texts(world.plan, folder, world.load());
  }
  RunInfo info;
  info.base_seed = 1;
  RunFolderOptions over;
  over.resume = Resume::start_over;
  RunFolder folder = RunFolder::open(world.folder / "run", world.plan, info, over);
  EXPECT_EQ(make_texts(world.plan, folder, world.load()).made, 1);
}

TEST(TextRecords, AreReadAsTheyWereWritten) {
  TextRecord record;
  record.id = "i";
  record.prompt = "p";
  record.text = "t";
  record.note = "n";
  record.seed = UINT64_MAX;
  record.finish_reason = "length";
  EXPECT_EQ(text_from_json(Json::parse(to_json(record).dump())), record);
  EXPECT_FALSE(text_from_json(Json{{"text", "x"}}));
  EXPECT_FALSE(text_from_json(Json{{"engine", 1}}));
}

}  // namespace
}  // namespace backlot
