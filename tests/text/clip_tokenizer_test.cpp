#include "text/clip_tokenizer.h"

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
const fs::path full_folder = fs::path(BACKLOT_SOURCE_DIR) / "models/clip-tokenizer";

Json read_json(const fs::path& file) { return Json::parse(read_file(file)); }

const ClipTokenizer& full() {
  static const auto tokenizer = ClipTokenizer::load(full_folder);
  return tokenizer;
}

const ClipTokenizer& small() {
  static const auto tokenizer = ClipTokenizer::load(data / "clip2");
  return tokenizer;
}

// Every string's ids and their text, as transformers gives them.
void expect_reference(const ClipTokenizer& tokenizer, const fs::path& reference_file) {
  const auto strings = read_json(data / "strings.json").get<std::vector<std::string>>();
  const Json reference = read_json(reference_file);
  ASSERT_EQ(strings.size(), 300u);
  for (size_t i = 0; i < strings.size(); ++i) {
    const auto ids = reference["ids"][i].get<std::vector<int64_t>>();
    EXPECT_EQ(tokenizer.encode(strings[i]), ids) << Json(strings[i]);
    EXPECT_EQ(tokenizer.decode(ids), reference["decoded"][i].get<std::string>());
    auto with_special = ids;
    with_special.insert(with_special.begin(), tokenizer.bos());
    with_special.push_back(tokenizer.eos());
    EXPECT_EQ(with_special, reference["ids_special"][i].get<std::vector<int64_t>>());
  }
}

TEST(ClipTokenizer, GivesTheReferenceIdsWithTheFullVocabulary) {
  expect_reference(full(), data / "clip.json");
  EXPECT_EQ(full().vocabulary_size(), 49408);
}

TEST(ClipTokenizer, GivesTheReferenceIdsWithARegisteredPad) {
  expect_reference(small(), data / "clip2.json");
}

TEST(ClipTokenizer, KnowsItsSpecialTokens) {
  EXPECT_EQ(full().bos(), 49406);
  EXPECT_EQ(full().eos(), 49407);
  EXPECT_EQ(full().pad(), 49407);
  EXPECT_EQ(full().max_length(), 77);
  EXPECT_EQ(small().pad(), 0);
}

}  // namespace
}  // namespace backlot
