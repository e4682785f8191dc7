// A spec with an enhance stage: texts first, then pictures, whatever comes in between.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <fstream>
#include <random>
#include <thread>

#include "base/text.h"
#include "support/command.h"
#include "support/run_dir.h"
#include "support/saying_model.h"
#include "support/temporary_folder.h"
#include "support/tiny_runs.h"

namespace backlot {
namespace {

using namespace std::chrono_literals;

class EnhanceStage : public ::testing::Test {
 protected:
  EnhanceStage() { write_saying_gguf(work_ / "fox.gguf"); }

  // `prompts` jobs of two variants each, and one that stays as it is.
  void write_spec(int prompts) {
    std::ofstream spec(work_ / "run.yaml");
    spec << "version: 1\nname: run\nmodel: " << BACKLOT_TEST_DATA
         << "/oracles/sdxl-base/model\ndefaults: {width: 16, height: 16, steps: 1, seed: 1}\n"
            "enhance: {model: fox.gguf, variants: 2, temperature: 1}\njobs:\n"
            "  - {prompt: as it is, enhance: false}\n";
    for (int i = 0; i < prompts; ++i) spec << "  - prompt: a red fox or a blue cat, " << i << "\n";
  }
  static std::vector<std::string> command() {
    return {"generate", "run.yaml", "--device", "cpu",        "--threads",
            "1",        "--dtype",  "float32",  "--progress", "off"};
  }
  CommandResult generate() { return backlot(command(), {.folder = work_.path()}); }

  // How many lines of the journals each text has.
  std::map<std::string, int> texts() const {
    std::map<std::string, int> lines;
    std::error_code absent;
    for (const auto& entry : fs::directory_iterator(run_ / "journal", absent)) {
      std::ifstream journal(entry.path());
      for (std::string line; std::getline(journal, line);) {
        const Json record = Json::parse(line, nullptr, false);
        if (record.is_object() && record.contains("text"))
          ++lines[record["text"]["id"].get<std::string>()];
      }
    }
    return lines;
  }

  TemporaryFolder work_;
  const fs::path run_ = work_ / "out" / "run";
};

TEST_F(EnhanceStage, LeavesBothPromptsInTheManifest) {
  write_spec(2);
  const auto result = generate();
  ASSERT_EQ(result.exit_code, 0) << result.err;
  expect_complete(run_, 5);
  const Json manifest = read_manifest(run_);
  std::set<std::string> made;
  for (const auto& item : manifest["items"]) {
    if (item["job"] == "job-1") {
      EXPECT_EQ(item["parameters"]["prompt"], "as it is");
      EXPECT_FALSE(item.contains("enhanced_prompt"));
      continue;
    }
    EXPECT_TRUE(item["prompt"].get<std::string>().starts_with("a red fox or a blue cat, "));
    const std::string text = item["enhanced_prompt"];
    EXPECT_TRUE(text.starts_with("A red fox and a blue cat ")) << text;
    EXPECT_FALSE(item["enhancement"]["fell_back"].get<bool>());
    made.insert(item["prompt"].get<std::string>() + text);
  }
  EXPECT_EQ(made.size(), 4u) << "two variants of each prompt";
  EXPECT_EQ(texts().size(), 4u);

  const auto again = generate();
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(again.err.find("enhanc"), std::string::npos) << again.err;
}

TEST_F(EnhanceStage, MakesNoTextTwiceHoweverOftenItIsKilled) {
  write_spec(20);
  std::mt19937 random(20260131);
  std::map<std::string, int> before;
  for (int kill = 0; kill < 8; ++kill) {
    Process process(with_binary(command()), {.folder = work_.path()});
    // While texts are made at first, then between them and the pictures, then among those.
    const size_t pictures = files_in(run_ / "images");
    const auto so_far = [&] {
      return kill < 5 ? texts().size() > before.size() || before.size() == 40
                      : files_in(run_ / "images") > pictures;
    };
    while (!so_far() && process.running()) std::this_thread::sleep_for(1ms);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 40000));
    process.send(SIGKILL);
    process.wait();
    const auto now = texts();
    for (const auto& [id, count] : before) EXPECT_TRUE(now.contains(id)) << "a text was lost";
    before = now;
  }
  const auto last = generate();
  EXPECT_EQ(last.exit_code, 0) << last.err;
  expect_complete(run_, 41);
  const auto lines = texts();
  EXPECT_EQ(lines.size(), 40u);
  for (const auto& [id, count] : lines) EXPECT_EQ(count, 1) << id;
  for (const auto& [id, count] : times_done(run_)) EXPECT_EQ(count, 1) << id;
}

TEST_F(EnhanceStage, MakesAPictureAgainWithoutTheLanguageModel) {
  write_spec(1);
  ASSERT_EQ(generate().exit_code, 0);
  fs::remove(work_ / "fox.gguf");
  const Json item = read_manifest(run_)["items"][1];
  const std::string picture = run_ / item["output"].get<std::string>();
  const auto result =
      backlot({"generate", "--from", picture, "--device", "cpu", "--dtype", "float32", "--progress",
               "off", "--model", BACKLOT_TEST_DATA "/oracles/sdxl-base/model", "-o", "again"},
              {.folder = work_.path()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json again = read_manifest(work_ / "again")["items"][0];
  EXPECT_EQ(again["parameters"]["prompt"], item["enhanced_prompt"]);
}

TEST_F(EnhanceStage, SaysWhichLanguageModelIsMissing) {
  write_spec(1);
  fs::remove(work_ / "fox.gguf");
  const auto result = generate();
  EXPECT_TRUE(result.exit_code == 2 || result.exit_code == 3) << result.exit_code;
  EXPECT_NE(result.err.find("fox.gguf"), std::string::npos) << result.err;
  EXPECT_FALSE(fs::exists(run_ / "images"));
}

}  // namespace
}  // namespace backlot
