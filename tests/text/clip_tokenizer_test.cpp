#include "text/clip_tokenizer.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <random>
#include <sstream>

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

// A folder with the files of clip2, to be changed by a test.
class ClipFolder : public TemporaryFolder {
 public:
  ClipFolder() {
    fs::copy(data / "clip2", path());
    for (const auto& entry : fs::directory_iterator(path()))
      fs::permissions(entry, fs::perms::owner_write, fs::perm_options::add);
  }
  void write(const fs::path& name, const Json& json) const {
    write_file_durably(path() / name, json.dump());
  }
  std::vector<int64_t> encode(std::string_view text) const {
    return ClipTokenizer::load(path()).encode(text);
  }
};

// The message of the LoadError that loading `folder` gives.
std::string refusal(const fs::path& folder) {
  try {
    ClipTokenizer::load(folder);
  } catch (const LoadError& error) {
    return error.what();
  }
  return "loaded";
}

TEST(ClipTokenizer, FindsSpecialTokensInTheNormalisedText) {
  EXPECT_EQ(full().encode("a<|EndOfText|>b"), (std::vector<int64_t>{320, 49407, 321}));
  const auto start_and_cat = full().encode("<|startoftext|> cat");
  EXPECT_EQ(start_and_cat.size(), 2u);
  EXPECT_EQ(start_and_cat[0], 49406);
}

TEST(ClipTokenizer, RegistersThePadOfAnOldFolder) {
  ClipFolder folder;
  fs::remove(folder / "tokenizer_config.json");
  EXPECT_EQ(ClipTokenizer::load(folder.path()).pad(), 0);
  EXPECT_EQ(folder.encode("a!!"), small().encode("a!!"));
  fs::remove(folder / "special_tokens_map.json");
  EXPECT_EQ(ClipTokenizer::load(folder.path()).pad(), small().eos());
  EXPECT_NE(folder.encode("a!!"), small().encode("a!!"));
}

TEST(ClipTokenizer, TakesAddedTokensWithTheirFlags) {
  ClipFolder folder;
  fs::remove(folder / "tokenizer_config.json");
  folder.write("added_tokens.json", {{"<My Cat>", 3514}});
  const auto cat = small().encode("a"), dot = small().encode(".");
  EXPECT_EQ(folder.encode("a<my cat>."), (std::vector<int64_t>{cat[0], 3514, dot[0]}));

  Json config = Json::parse(read_file(data / "clip2/tokenizer_config.json"));
  config["added_tokens_decoder"]["3514"] = {{"content", "Cat"}, {"normalized", false}};
  folder.write("tokenizer_config.json", config);
  EXPECT_EQ(folder.encode("aCat").back(), 3514);
  EXPECT_NE(folder.encode("acat").back(), 3514);
  config["added_tokens_decoder"]["3514"]["single_word"] = true;
  folder.write("tokenizer_config.json", config);
  EXPECT_EQ(folder.encode("a Cat.")[1], 3514);
  for (const char* inside : {"aCat", "Cats", "éCat", "Cat_"})
    for (const int64_t id : folder.encode(inside)) EXPECT_NE(id, 3514) << inside;
}

TEST(ClipTokenizer, ReadsATokenizerJsonAlone) {
  ClipFolder folder;
  const Json vocabulary = Json::parse(read_file(data / "clip2/vocab.json"));
  Json merges = Json::array();
  std::istringstream lines(read_file(data / "clip2/merges.txt"));
  for (std::string line; std::getline(lines, line);)
    if (!line.starts_with("#version")) merges.push_back(line);
  folder.write("tokenizer.json",
               {{"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", merges}}}});
  fs::remove(folder / "vocab.json");
  fs::remove(folder / "merges.txt");
  expect_reference(ClipTokenizer::load(folder.path()), data / "clip2.json");
}

TEST(ClipTokenizer, SaysWhatAFolderLacks) {
  ClipFolder folder;
  folder.write("tokenizer_config.json", {{"tokenizer_class", "T5TokenizerFast"}});
  EXPECT_NE(refusal(folder.path()).find("is a T5Tokenizer"), std::string::npos);
  fs::remove(folder / "tokenizer_config.json");
  std::string merges = read_file(folder / "merges.txt");
  write_file_durably(folder / "merges.txt", "#version: 0.2\ni n\nt h e\n");
  EXPECT_NE(refusal(folder.path()).find("merges.txt:3: 't h e'"), std::string::npos);
  write_file_durably(folder / "merges.txt", merges + "qz qz\n");
  EXPECT_NE(refusal(folder.path()).find("merges.txt:3002: "), std::string::npos);
  fs::remove(folder / "merges.txt");
  EXPECT_NE(refusal(folder.path()).find("neither merges.txt nor"), std::string::npos);
}

TEST(ClipTokenizer, MergesWordsOfAnyLength) {
  const std::string letters(1 << 20, 'a');
  const auto ids = full().encode(letters);
  EXPECT_LT(ids.size(), letters.size());
  EXPECT_EQ(full().decode(ids), letters);
  // Marks of descending classes, which a plain insertion sort would take quadratic time for.
  std::string marks = "e";
  for (int i = 0; i < 200000; ++i) marks += i % 2 ? "\u0323" : "\u0301";
  EXPECT_FALSE(full().encode(marks).empty());
  EXPECT_EQ(full().encode("e\u0301\u0323"), full().encode("\u1eb9\u0301"));
}

TEST(ClipTokenizer, TakesAnyBytes) {
  std::mt19937 random(1);
  std::string bytes(1 << 20, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  EXPECT_FALSE(full().encode(bytes).empty());
  EXPECT_EQ(full().encode("a\xff\xe2\x82z"), full().encode("a\ufffd\ufffdz"));
  EXPECT_TRUE(rc::check([](const std::string& text) {
    for (const int64_t id : small().encode(text)) RC_ASSERT(id >= 0 && id < 3514);
  }));
}

TEST(ClipTokenizer, DecodesAnyIds) {
  EXPECT_EQ(full().decode(std::vector<int64_t>{-1, 49408, int64_t{1} << 40}), "");
  EXPECT_TRUE(rc::check([](const std::vector<int64_t>& ids) { full().decode(ids); }));
}

TEST(ClipTokenizer, GivesLowerCaseWordsBack) {
  EXPECT_TRUE(rc::check([] {
    const auto letter = rc::gen::inRange('a', static_cast<char>('z' + 1));
    const auto word = rc::gen::nonEmpty(rc::gen::container<std::string>(letter));
    std::string text;
    for (const auto& w : *rc::gen::container<std::vector<std::string>>(word))
      text += (text.empty() ? "" : " ") + w;
    RC_ASSERT(full().decode(full().encode(text)) == text);
  }));
}

TEST(TokenizeWithFolder, TokenizesEachText) {
  EXPECT_EQ(tokenize_with_folder(full_folder, {"a", "", "a cat"}),
            (std::vector<std::vector<int64_t>>{{320}, {}, {320, 2368}}));
}

TEST(TokenizeWithFolder, KnowsClipByItsMerges) {
  TemporaryFolder folder;
  fs::copy(full_folder / "merges.txt", folder / "merges.txt");
  EXPECT_EQ(tokenize_with_folder(folder.path(), {"a cat"})[0], (std::vector<int64_t>{320, 2368}));
}

TEST(TokenizeWithFolder, NamesTheClassItCannotRead) {
  TemporaryFolder folder;
  EXPECT_THROW(tokenize_with_folder(folder / "none", {}), LoadError);
  EXPECT_THROW(tokenize_with_folder(folder.path(), {}), LoadError);
  write_file_durably(folder / "tokenizer_config.json", R"({"tokenizer_class": "BertTokenizerFast"})");
  try {
    tokenize_with_folder(folder.path(), {});
    FAIL();
  } catch (const LoadError& error) {
    EXPECT_NE(std::string(error.what()).find("is a BertTokenizer"), std::string::npos);
  }
}

}  // namespace
}  // namespace backlot
