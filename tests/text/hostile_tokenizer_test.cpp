// Damaged tokenizer folders: a LoadError or a working tokenizer, never a crash.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <random>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "support/temporary_folder.h"
#include "text/byte_alphabet.h"
#include "text/clip_tokenizer.h"
#include "text/language_tokenizer.h"

namespace backlot {
namespace {

using Files = std::map<std::string, std::string>;

const std::string decoder_flags =
    R"("lstrip": true, "normalized": true, "rstrip": true, "single_word": true, "special": true)";

// A whole tokenizer in few bytes: the bytes, three merges, two special tokens and an added one.
Files small_folder() {
  Json vocabulary;
  for (const std::string end : {"", "</w>"})
    for (const unsigned char byte : byte_alphabet_order())
      vocabulary[byte_alphabet()[byte] + end] = vocabulary.size();
  for (const char* token : {"ca", "cat</w>", "at</w>", "<|startoftext|>", "<|endoftext|>"})
    vocabulary[token] = vocabulary.size();
  return {
      {"vocab.json", vocabulary.dump()},
      {"merges.txt", "#version: 0.2\nc a\na t</w>\nca t</w>\n"},
      {"special_tokens_map.json",
       R"({"bos_token": {"content": "<|startoftext|>", "normalized": true}, "pad_token": "!"})"},
      {"added_tokens.json", R"({"<extra>": 517})"},
      {"tokenizer_config.json", R"({"model_max_length": 77, "tokenizer_class": "CLIPTokenizer",
        "eos_token": "<|endoftext|>"})"},
  };
}

// As small_folder, with the newer way to list added tokens.
Files newer_folder() {
  Files files = small_folder();
  files.erase("special_tokens_map.json");
  files.erase("added_tokens.json");
  files["tokenizer_config.json"] = R"({"added_tokens_decoder": {"517": {"content": "<extra>", )" +
                                   decoder_flags + R"(}, "0": {"content": "!", )" + decoder_flags +
                                   R"(}}, "pad_token": "!",
      "model_max_length": 1e30, "tokenizer_class": "CLIPTokenizerFast"})";
  return files;
}

// As small_folder, in one tokenizer.json.
Files single_file_folder() {
  Files files = small_folder();
  const Json json = {
      {"model",
       {{"type", "BPE"},
        {"vocab", Json::parse(files["vocab.json"])},
        {"merges", {"c a", Json::array({"a", "t</w>"}), "ca t</w>"}}}},
      {"added_tokens", {{{"id", 517}, {"content", "<extra>"}, {"normalized", false}}}}};
  return {{"tokenizer.json", json.dump()}};
}

// Without the flushes of write_file_durably, which would take most of the test's time.
void write(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

enum class Outcome { loaded, refused };

// Loads the files from a new folder and uses what was loaded.
Outcome load(const Files& files) {
  TemporaryFolder folder;
  for (const auto& [name, bytes] : files) write(folder / name, bytes);
  try {
    const auto tokenizer = ClipTokenizer::load(folder.path());
    const auto ids = tokenizer.encode("a cat! <extra> Ünï <|endoftext|>\xff");
    for (const int64_t id : ids) EXPECT_TRUE(id >= 0 && id < tokenizer.vocabulary_size());
    tokenizer.decode(ids);
    EXPECT_GE(tokenizer.max_length(), 3);
    for (const int64_t id : {tokenizer.bos(), tokenizer.eos(), tokenizer.pad()})
      EXPECT_TRUE(id >= 0 && id < tokenizer.vocabulary_size());
    return Outcome::loaded;
  } catch (const LoadError& error) {
    EXPECT_NE(error.where().find(folder.path().string()), std::string::npos);
    EXPECT_FALSE(error.problem().empty());
    return Outcome::refused;
  }
}

TEST(HostileTokenizer, LoadsTheWholeFolders) {
  EXPECT_EQ(load(small_folder()), Outcome::loaded);
  EXPECT_EQ(load(newer_folder()), Outcome::loaded);
  EXPECT_EQ(load(single_file_folder()), Outcome::loaded);
}

TEST(HostileTokenizer, RefusesFilesThatAreNotWhatTheySay) {
  for (const char* name :
       {"vocab.json", "special_tokens_map.json", "added_tokens.json", "tokenizer_config.json"}) {
    for (const std::string bytes : {"", "{", "[]", "null", "7", "\"x\"", "{\"\xff\": 0}", "{]}"}) {
      Files files = small_folder();
      files[name] = bytes;
      EXPECT_EQ(load(files), Outcome::refused) << name << ": " << bytes;
    }
    Files files = small_folder();
    files[name] = std::string(1 << 18, '[');
    EXPECT_EQ(load(files), Outcome::refused) << name;
  }
}

TEST(HostileTokenizer, RefusesIdsThatDoNotFit) {
  for (const char* id : {"-1", "0", "517", "518", "99999999999", "18446744073709551615", "1.5",
                         "1e400", "\"5\"", "null", "[]", "true"}) {
    Files files = small_folder();
    Json vocabulary = Json::parse(files["vocab.json"]);
    vocabulary.erase("ca");
    std::string text = vocabulary.dump();
    text.pop_back();
    files["vocab.json"] = text + ",\"ca\":" + id + "}";
    EXPECT_EQ(load(files), Outcome::refused) << id;
    files = small_folder();
    files["added_tokens.json"] = std::string("{\"<extra>\": ") + id + "}";
    EXPECT_EQ(load(files), id == std::string("517") ? Outcome::loaded : Outcome::refused) << id;
  }
  for (const char* id : {"", "-1", "x", "5 ", "516", "518", "99999999999999999999", "0x205"}) {
    Files files = newer_folder();
    Json config = Json::parse(files["tokenizer_config.json"]);
    config["added_tokens_decoder"] = {{id, {{"content", "<extra>"}}}};
    files["tokenizer_config.json"] = config.dump();
    EXPECT_EQ(load(files), Outcome::refused) << id;
  }
}

TEST(HostileTokenizer, RefusesMergesThatAreNone) {
  for (const std::string line :
       {"c", "", " ", "c ", " a", "c  a", "c a t", "c zz", "zz a", "a c", "\xff a", "c\ta"}) {
    Files files = small_folder();
    files["merges.txt"] += line + "\n";
    EXPECT_EQ(load(files), Outcome::refused) << "'" << line << "'";
  }
}

TEST(HostileTokenizer, RefusesSettingsOfTheWrongKind) {
  for (const char* setting :
       {R"("model_max_length": "77")", R"("model_max_length": -1)", R"("model_max_length": 2)",
        R"("model_max_length": 7.5)", R"("tokenizer_class": 5)", R"("tokenizer_class": "Other")",
        R"("pad_token": 5)", R"("pad_token": "")", R"("pad_token": "<nowhere>")",
        R"("pad_token": {})", R"("pad_token": {"content": 1})", R"("eos_token": [])",
        R"("added_tokens_decoder": [])", R"("added_tokens_decoder": {"0": "!"})",
        R"("added_tokens_decoder": {"0": {"content": "!", "lstrip": 1}})",
        R"("additional_special_tokens": [1])"}) {
    Files files = small_folder();
    files.erase("special_tokens_map.json");
    files["tokenizer_config.json"] = std::string("{") + setting + "}";
    EXPECT_EQ(load(files), Outcome::refused) << setting;
  }
}

TEST(HostileTokenizer, RefusesHugeFiles) {
  TemporaryFolder folder;
  for (const auto& [name, bytes] : small_folder()) write(folder / name, bytes);
  for (const auto& [name, bytes] : small_folder()) {
    fs::resize_file(folder / name, uint64_t{3} << 30);
    EXPECT_THROW(ClipTokenizer::load(folder.path()), LoadError) << name;
    write(folder / name, bytes);
  }
  fs::remove(folder / "vocab.json");
  fs::create_directory(folder / "vocab.json");
  EXPECT_THROW(ClipTokenizer::load(folder.path()), LoadError);
}

// One small change of some bytes.
void damage(std::string& bytes, std::mt19937& random) {
  if (bytes.empty()) return;
  const auto below = [&](size_t n) {
    return static_cast<size_t>(random() % std::max<size_t>(n, 1));
  };
  const size_t at = below(bytes.size());
  const size_t length = std::min(bytes.size() - at, 1 + below(40));
  static const std::string tokens[] = {"{", "}",    "[",     "\"",      ",",
                                       ":", "-1",   "1e999", "null",    "\n",
                                       " ", "\xff", "</w>",  "\\u0000", "<|endoftext|>"};
  switch (random() % 5) {
    case 0:
      bytes.resize(at);
      break;
    case 1:
      bytes[at] = static_cast<char>(random());
      break;
    case 2:
      bytes.erase(at, length);
      break;
    case 3:
      bytes.insert(at, bytes.substr(below(bytes.size()), length));
      break;
    default:
      bytes.insert(at, tokens[below(std::size(tokens))]);
      break;
  }
}

TEST(HostileTokenizer, SurvivesEveryMutation) {
  std::mt19937 random(20);
  int refused = 0, loaded = 0;
  for (const auto& original : {small_folder(), newer_folder(), single_file_folder()}) {
    for (const auto& [name, bytes] : original) {
      for (int i = 0; i < 60; ++i) {
        Files files = original;
        for (int changes = 1 + i % 3; changes > 0; --changes) damage(files[name], random);
        ++(load(files) == Outcome::refused ? refused : loaded);
      }
    }
  }
  EXPECT_GE(refused + loaded, 500);
  EXPECT_GE(refused, 300);
  EXPECT_GE(loaded, 1);
}

// A language model's folder put together as Llama 3's.
Files language_folder() {
  const fs::path source = fs::path(BACKLOT_TEST_DATA) / "tokenizers/llama3";
  Files files;
  for (const auto& entry : fs::directory_iterator(source))
    files[entry.path().filename().string()] = read_file(entry.path());
  Json json = Json::parse(files["tokenizer.json"]);
  const Json vocabulary = json["model"]["vocab"];
  json["model"]["vocab"] = Json::object();
  for (const auto& [token, id] : vocabulary.items())
    if (id.get<int>() < 256) json["model"]["vocab"][token] = id;
  json["model"]["merges"] = Json::array();
  int64_t next = 256;
  for (Json& token : json["added_tokens"]) token["id"] = next++;
  json["post_processor"]["processors"][1]["special_tokens"]["<|begin_of_text|>"]["ids"] = {256};
  files["tokenizer.json"] = json.dump();
  files["tokenizer_config.json"] = R"({"tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>",
    "chat_template": "{{ messages[0].content }}"})";
  files["generation_config.json"] = R"({"eos_token_id": [257, 260]})";
  return files;
}

Outcome load_language(const Files& files) {
  TemporaryFolder folder;
  for (const auto& [name, bytes] : files) write(folder / name, bytes);
  try {
    const auto tokenizer = LanguageTokenizer::load(folder.path());
    for (const auto& ids : {tokenizer.encode("a cat! Ünï 123 <|eot_id|>\xff\n"),
                            tokenizer.encode_completion(std::string(300, 'a') + "b")}) {
      for (const int32_t id : ids) EXPECT_TRUE(id >= 0 && id < tokenizer.vocabulary_size());
      tokenizer.decode(ids);
    }
    tokenizer.render_chat(Json::parse(R"([{"role": "user", "content": "x"}])"));
    return Outcome::loaded;
  } catch (const LoadError& error) {
    EXPECT_FALSE(error.problem().empty());
    return Outcome::refused;
  } catch (const ItemError&) {
    return Outcome::refused;
  }
}

TEST(HostileTokenizer, RefusesPatternsItCannotUse) {
  const auto with_pattern = [](const Json& pattern) {
    Files files = language_folder();
    Json json = Json::parse(files["tokenizer.json"]);
    json["pre_tokenizer"]["pretokenizers"][0]["pattern"] = pattern;
    files["tokenizer.json"] = json.dump();
    return load_language(files);
  };
  EXPECT_EQ(with_pattern({{"Regex", R"(\s+|\S+|[^\S\n]|^a$|[\w\d]\W)"}}), Outcome::loaded);
  EXPECT_EQ(with_pattern({{"String", "a.[("}}), Outcome::loaded);
  for (const std::string pattern : {"(",
                                    "[a",
                                    "[]",
                                    "[^]a]",
                                    "\\",
                                    R"(\1)",
                                    R"(\K)",
                                    R"(\h)",
                                    R"(\Qa)",
                                    R"([a[b]])",
                                    "[a&&b]",
                                    "(?R)",
                                    "(?1)",
                                    "(?(1)a)",
                                    "(?m:a)",
                                    "(*FAIL)",
                                    "(?C1)",
                                    "a{99999}",
                                    R"(\p{Nothing})",
                                    "",
                                    "(?:a|a)+(?![ab])"})
    EXPECT_EQ(with_pattern({{"Regex", pattern}}), Outcome::refused) << pattern;
  EXPECT_EQ(with_pattern({{"Regex", std::string(5000, 'a')}}), Outcome::refused);
  for (const char* pattern : {"null", "{}", "7", R"({"Regex": 7})", R"({"String": ""})"})
    EXPECT_EQ(with_pattern(Json::parse(pattern)), Outcome::refused) << pattern;
}

TEST(HostileTokenizer, RefusesPostProcessorsThatDoNotFit) {
  const auto with = [](const Json& post_processor) {
    Files files = language_folder();
    Json json = Json::parse(files["tokenizer.json"]);
    json["post_processor"] = post_processor;
    files["tokenizer.json"] = json.dump();
    return load_language(files);
  };
  EXPECT_EQ(with(nullptr), Outcome::loaded);
  EXPECT_EQ(with({{"type", "ByteLevel"}}), Outcome::loaded);
  for (const char* step :
       {"7", "{}", R"({"type": "BertProcessing"})", R"({"type": "Sequence"})",
        R"({"type": "Sequence", "processors": [{"type": "Sequence", "processors": []}]})",
        R"({"type": "TemplateProcessing"})", R"({"type": "TemplateProcessing", "single": [7]})",
        R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}]})",
        R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}],
            "special_tokens": {"x": {"ids": [100000]}}})",
        R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}],
            "special_tokens": {"x": {"ids": ["1"]}}})"})
    EXPECT_EQ(with(Json::parse(step)), Outcome::refused) << step;
}

TEST(HostileTokenizer, SurvivesEveryMutationOfALanguageModels) {
  std::mt19937 random(21);
  const Files original = language_folder();
  ASSERT_EQ(load_language(original), Outcome::loaded);
  int refused = 0, loaded = 0;
  for (const auto& [name, bytes] : original) {
    for (int i = 0; i < 150; ++i) {
      Files files = original;
      for (int changes = 1 + i % 3; changes > 0; --changes) damage(files[name], random);
      ++(load_language(files) == Outcome::refused ? refused : loaded);
    }
  }
  EXPECT_GE(refused, 200);
  EXPECT_GE(loaded, 1);
}

}  // namespace
}  // namespace backlot
