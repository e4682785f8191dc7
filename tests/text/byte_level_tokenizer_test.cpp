#include "text/byte_level_tokenizer.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <random>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "support/temporary_folder.h"
#include "text/tokenize_folder.h"

namespace backlot {
namespace {

const fs::path data = fs::path(BACKLOT_TEST_DATA) / "tokenizers";

// Folders with the splitting, added tokens and first 1000 merges of the true tokenizers.
class ByteLevel : public testing::TestWithParam<const char*> {
 protected:
  const ByteLevelTokenizer tokenizer = ByteLevelTokenizer::load(data / GetParam());
};

TEST_P(ByteLevel, GivesTheReferenceIds) {
  const auto strings =
      Json::parse(read_file(data / "strings.json")).get<std::vector<std::string>>();
  const Json reference = Json::parse(read_file(data / (std::string(GetParam()) + ".json")));
  const auto expected = reference["ids"].get<std::vector<std::vector<int64_t>>>();
  EXPECT_EQ(tokenize_with_folder(data / GetParam(), strings), expected);
  for (size_t i = 0; i < strings.size(); ++i)
    EXPECT_EQ(tokenizer.decode(expected[i]), reference["decoded"][i].get<std::string>());
}

TEST_P(ByteLevel, FindsItsMarksByName) {
  const auto mark = tokenizer.id_of("<|im_start|>");
  ASSERT_TRUE(mark);
  EXPECT_EQ(tokenizer.encode("<|im_start|>user")[0], *mark);
  EXPECT_EQ(tokenizer.decode(std::vector{*mark, int64_t{-1}, int64_t{1} << 40}), "<|im_start|>");
  EXPECT_FALSE(tokenizer.id_of("<|nowhere|>"));
}

TEST_P(ByteLevel, GivesAsciiTextBack) {
  EXPECT_TRUE(rc::check([this] {
    const auto text = *rc::gen::container<std::string>(rc::gen::inRange(' ', '\x7f'));
    RC_ASSERT(tokenizer.decode(tokenizer.encode(text)) == text);
  }));
}

TEST_P(ByteLevel, TakesAnyBytesAndLongRuns) {
  std::mt19937 random(2);
  std::string bytes(1 << 17, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  EXPECT_FALSE(tokenizer.encode(bytes).empty());
  for (const char c : {'a', ' ', '\n', '7', '!'}) {
    const std::string run(1 << 17, c);
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(run)), run);
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(run + "x")), run + "x");
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, ByteLevel, testing::Values("qwen2", "smollm2"));

TEST(ByteLevelFolder, RefusesSplittingItDoesNotKnow) {
  const Json whole = Json::parse(read_file(data / "smollm2/tokenizer.json"));
  const auto load_with = [&](const char* key, const Json& value) {
    Json changed = whole;
    changed[key] = value;
    TemporaryFolder folder;
    write_file_durably(folder / "tokenizer.json", changed.dump());
    ByteLevelTokenizer::load(folder.path());
  };
  EXPECT_NO_THROW(load_with("normalizer", nullptr));
  EXPECT_THROW(load_with("normalizer", {{"type", "Lowercase"}}), LoadError);
  for (const char* step :
       {"null", "7", "{}", R"({"type": "Metaspace"})", R"({"type": "Sequence"})",
        R"({"type": "ByteLevel", "add_prefix_space": true})", R"({"type": "Digits"})",
        R"({"type": "Sequence", "pretokenizers": [{"type": "Sequence", "pretokenizers": []}]})"})
    EXPECT_THROW(load_with("pre_tokenizer", Json::parse(step)), LoadError) << step;
}

TEST(ByteLevelFolder, NamesAnotherClass) {
  EXPECT_THROW(ByteLevelTokenizer::load(data / "clip2"), LoadError);
}

}  // namespace
}  // namespace backlot
