#include "text/unigram_tokenizer.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <limits>
#include <random>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/utf8.h"
#include "support/temporary_folder.h"
#include "text/character_map.h"
#include "text/sentencepiece_model.h"
#include "text/tokenize_folder.h"
#include "text/unigram_model.h"

namespace backlot {
namespace {

using Ids = std::vector<int64_t>;

const fs::path data = fs::path(BACKLOT_TEST_DATA) / "tokenizers";

std::string base64(const std::string& bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                     reinterpret_cast<const unsigned char*>(bytes.data()),
                                     static_cast<int>(bytes.size()));
  text.resize(static_cast<size_t>(length));
  return text;
}

const SentencePieceModel& umt5_model() {
  static const auto model = read_sentencepiece_model(data / "umt5/spiece.model");
  return model;
}

Json umt5_tokenizer_json() {
  Json vocabulary = Json::array();
  for (const auto& piece : umt5_model().pieces) vocabulary.push_back({piece.text, piece.score});
  for (int i = 9; i >= 0; --i) vocabulary.push_back({"<extra_id_" + std::to_string(i) + ">", 0.0});
  return {{"normalizer",
           {{"type", "Precompiled"}, {"precompiled_charsmap", base64(umt5_model().character_map)}}},
          {"model", {{"type", "Unigram"}, {"unk_id", 2}, {"vocab", vocabulary}}}};
}

void expect_reference_ids(const fs::path& folder, const std::string& reference) {
  const auto strings =
      Json::parse(read_file(data / "strings.json")).get<std::vector<std::string>>();
  const auto expected =
      Json::parse(read_file(data / (reference + ".json")))["ids"].get<std::vector<Ids>>();
  const auto ids = tokenize_with_folder(folder, strings);
  ASSERT_EQ(ids.size(), expected.size());
  for (size_t i = 0; i < ids.size(); ++i) EXPECT_EQ(ids[i], expected[i]) << strings[i];
}

TEST(UnigramTokenizer, GivesTheReferenceIdsFromSpieceModel) {
  expect_reference_ids(data / "umt5", "umt5");
}

TEST(UnigramTokenizer, GivesTheReferenceIdsFromTokenizerJson) {
  TemporaryFolder folder;
  write_file_durably(folder / "tokenizer.json", umt5_tokenizer_json().dump());
  fs::copy_file(data / "umt5/tokenizer_config.json", folder / "tokenizer_config.json");
  expect_reference_ids(folder.path(), "umt5");
}

TEST(UnigramTokenizer, FollowsTheStepsOfTokenizerJsonForOtherClasses) {
  Json json = Json::parse(read_file(data / "bytefallback/tokenizer.json"));
  // It has UMT5's character map, which is too long to be here twice.
  json["normalizer"]["normalizers"][0]["precompiled_charsmap"] = base64(umt5_model().character_map);
  TemporaryFolder folder;
  write_file_durably(folder / "tokenizer.json", json.dump());
  expect_reference_ids(folder.path(), "bytefallback");
}

TEST(UnigramTokenizer, PadsAndCutsToTheLengthAskedFor) {
  const auto tokenizer = UnigramTokenizer::load(data / "umt5");
  EXPECT_EQ(tokenizer.eos(), 1);
  EXPECT_EQ(tokenizer.pad(), 0);
  EXPECT_EQ(tokenizer.vocabulary_size(), 2010);
  const Ids text = tokenizer.encode("a cat");
  ASSERT_EQ(text.size(), 2u);
  const auto padded = tokenizer.encode_padded("a cat", 5);
  EXPECT_EQ(padded.ids, (Ids{text[0], text[1], 1, 0, 0}));
  EXPECT_EQ(padded.length, 3);
  EXPECT_EQ(tokenizer.encode_padded("a cat", 3).ids, (Ids{text[0], text[1], 1}));
  const auto cut = tokenizer.encode_padded("a cat", 2);
  EXPECT_EQ(cut.ids, (Ids{text[0], 1}));
  EXPECT_EQ(cut.length, 2);
  EXPECT_EQ(tokenizer.encode_padded("", 3).ids, (Ids{1, 0, 0}));
  EXPECT_EQ(tokenizer.encode_padded("a cat", 1).ids, (Ids{1}));
  EXPECT_THROW(tokenizer.encode_padded("a cat", 0), UsageError);
}

TEST(UnigramTokenizer, RegistersAsManyExtraIdsAsTheConfigSays) {
  TemporaryFolder folder;
  fs::copy_file(data / "umt5/spiece.model", folder / "spiece.model");
  // As transformers does where nothing is said: a hundred, backwards.
  EXPECT_EQ(UnigramTokenizer::load(folder.path()).encode("<extra_id_0><extra_id_99>"),
            (Ids{2099, 2000}));
  write_file_durably(folder / "tokenizer_config.json",
                     R"({"tokenizer_class": "T5TokenizerFast", "extra_ids": 0})");
  EXPECT_EQ(UnigramTokenizer::load(folder.path()).vocabulary_size(), 2000);
}

TEST(UnigramTokenizer, TakesAnyBytesAndLongRuns) {
  const auto tokenizer = UnigramTokenizer::load(data / "umt5");
  std::mt19937 random(3);
  std::string bytes(1 << 16, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  for (const std::string& text : {bytes, std::string(1 << 16, 'a'), std::string(1 << 16, ' ') + "x",
                                  std::string(1 << 16, '\0')}) {
    for (const int64_t id : tokenizer.encode(text))
      EXPECT_TRUE(id >= 0 && id < tokenizer.vocabulary_size());
  }
}

// The highest score of all ways to cut `word`, by trying them.
double best_score(const std::vector<ScoredPiece>& pieces, std::string_view word) {
  if (word.empty()) return 0;
  double best = -std::numeric_limits<double>::infinity();
  for (const auto& piece : pieces)
    if (word.starts_with(piece.text))
      best = std::max(best, piece.score + best_score(pieces, word.substr(piece.text.size())));
  return best;
}

TEST(UnigramModel, FindsTheBestCut) {
  std::mt19937 random(11);
  const auto random_word = [&](size_t longest) {
    std::string word(1 + random() % longest, 'a');
    for (char& c : word) c = static_cast<char>('a' + random() % 3);
    return word;
  };
  for (int i = 0; i < 200; ++i) {
    std::set<std::string> texts{"a", "b", "c"};
    while (texts.size() < 12) texts.insert(random_word(4));
    std::vector<ScoredPiece> pieces{{"<unk>", 0}};
    for (const auto& text : texts) pieces.push_back({text, -static_cast<double>(random() % 1000)});
    const UnigramModel model(pieces, 0, UnknownAs::one_token);
    const std::string word = random_word(9);
    Ids ids;
    model.encode(word, ids);
    std::string spelled;
    double score = 0;
    for (const int64_t id : ids) {
      spelled += pieces[static_cast<size_t>(id)].text;
      score += pieces[static_cast<size_t>(id)].score;
    }
    EXPECT_EQ(spelled, word);
    EXPECT_EQ(score, best_score(pieces, word)) << word;
  }
}

TEST(UnigramModel, FusesWhatItDoesNotKnow) {
  const std::vector<ScoredPiece> pieces{{"<unk>", 0}, {"a", -1}, {"b", -1}, {"<0xC3>", -1}};
  const auto encoded = [&](std::string_view word, UnknownAs unknown_as) {
    Ids ids;
    UnigramModel(pieces, 0, unknown_as).encode(word, ids);
    return ids;
  };
  EXPECT_EQ(encoded("axyb\u00E9z", UnknownAs::one_token), (Ids{1, 0, 2, 0}));
  EXPECT_EQ(encoded("\u00E9a", UnknownAs::bytes), (Ids{0, 1}));  // there is no <0xA9>
  EXPECT_EQ(encoded("", UnknownAs::bytes), Ids{});
}

TEST(CharacterMap, ReplacesAndKeeps) {
  const CharacterMap map(umt5_model().character_map);
  EXPECT_EQ(map("ﬁ Ⅷ ①"), "fi VIII 1");
  EXPECT_EQ(map("e\u0301"), "é");
  EXPECT_EQ(map("plain 你好"), "plain 你好");
  EXPECT_EQ(map(""), "");
}

}  // namespace
}  // namespace backlot
