// Damaged spiece.model and tokenizer.json files of Unigram tokenizers: one LoadError or a working
// tokenizer, never a crash.
#include <gtest/gtest.h>

#include <bit>
#include <fstream>
#include <limits>
#include <random>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "support/temporary_folder.h"
#include "text/character_map.h"
#include "text/unigram_tokenizer.h"

namespace backlot {
namespace {

enum class Outcome { loaded, refused };

std::string u32(uint32_t value) {
  std::string bytes;
  for (int i = 0; i < 4; ++i) bytes += static_cast<char>(value >> (8 * i));
  return bytes;
}

// A character map that makes "B" from "A": a unit for the label at its place, a value behind it.
std::string small_map() {
  constexpr uint32_t has_leaf = 1 << 8, value = uint32_t{1} << 31;
  std::vector<uint32_t> trie(256);
  trie[0] = 128 << 10;                           // the root leads to 128 ^ byte
  trie[128 ^ 'A'] = 'A' | has_leaf | (1 << 10);  // its value is beside it
  trie[(128 ^ 'A') ^ 1] = value | 0;
  std::string bytes = u32(static_cast<uint32_t>(trie.size() * sizeof(uint32_t)));
  for (const uint32_t unit : trie) bytes += u32(unit);
  return bytes + "B" + '\0';
}

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}

std::string field(uint64_t id, const std::string& bytes) {
  return varint(id << 3 | 2) + varint(bytes.size()) + bytes;
}

std::string number(uint64_t id, uint64_t value) { return varint(id << 3) + varint(value); }

std::string piece(const std::string& text, float score, uint64_t type = 1) {
  return field(1, field(1, text) + varint(2 << 3 | 5) + u32(std::bit_cast<uint32_t>(score)) +
                      number(3, type));
}

std::string special_pieces() {
  return piece("<pad>", 0, 3) + piece("</s>", 0, 3) + piece("<unk>", 0, 2);
}

std::string small_model() {
  return special_pieces() + piece("\u2581", -2) + piece("B", -3) + piece("cat", -4) +
         piece("<mark>", 0, 4) + field(2, number(3, 1) + field(1, "input")) +
         field(3, field(1, "nmt_nfkc") + field(2, small_map()));
}

const std::string small_json = R"({"added_tokens": [{"id": 1, "content": "</s>", "special": true}],
  "normalizer": {"type": "Sequence", "normalizers": [
    {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}, {"type": "NFC"}]},
  "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"},
    {"type": "Metaspace", "replacement": "_", "prepend_scheme": "always", "split": true}]},
  "model": {"type": "Unigram", "unk_id": 2, "byte_fallback": true, "vocab":
    [["<pad>", 0], ["</s>", 0], ["<unk>", 0], ["_", -2.5], ["cat", -3], ["<0xC3>", -4]]}})";

Outcome load_folder(const fs::path& folder) {
  try {
    const auto tokenizer = UnigramTokenizer::load(folder);
    const auto ids = tokenizer.encode_padded("A cat </s> <mark> B\u00E9e\u0301 \xff", 16).ids;
    for (const int64_t id : ids) EXPECT_TRUE(id >= 0 && id < tokenizer.vocabulary_size());
    return Outcome::loaded;
  } catch (const LoadError& error) {
    EXPECT_NE(error.where().find(folder.string()), std::string::npos);
    EXPECT_FALSE(error.problem().empty());
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    return Outcome::refused;
  }
}

// Loads a folder that has this file alone, always the same one: making folders takes longest.
Outcome load(const std::string& name, const std::string& bytes) {
  static const TemporaryFolder folder;
  std::ofstream(folder / name, std::ios::binary) << bytes;
  const Outcome outcome = load_folder(folder.path());
  fs::remove(folder / name);
  return outcome;
}

Outcome load_model(const std::string& bytes) { return load("spiece.model", bytes); }
Outcome load_json(const std::string& bytes) { return load("tokenizer.json", bytes); }

TEST(HostileUnigram, LoadsTheWholeFiles) {
  EXPECT_EQ(load_model(small_model()), Outcome::loaded);
  EXPECT_EQ(load_json(small_json), Outcome::loaded);
  EXPECT_EQ(CharacterMap(small_map())("xA"), "xB");
}

TEST(HostileUnigram, RefusesEveryBeginningOfAModel) {
  const std::string whole = small_model();
  // What is cut between two fields has no character map, and a vocabulary if enough is left.
  const size_t pieces =
      whole.size() - field(3, field(1, "nmt_nfkc") + field(2, small_map())).size();
  for (size_t size = pieces + 1; size < whole.size(); ++size)
    EXPECT_EQ(load_model(whole.substr(0, size)), Outcome::refused) << size;
  for (size_t size = 0; size < special_pieces().size(); ++size)
    EXPECT_EQ(load_model(whole.substr(0, size)), Outcome::refused) << size;
}

TEST(HostileUnigram, RefusesModelsThatAreNone) {
  const std::string specials = special_pieces();
  for (const std::string& bytes :
       {std::string("not a model"), std::string(64, '\xff'), specials + '\0',
        specials + field(1, ""), specials + piece("", 0), specials + piece("<pad>", 0),
        specials + piece("\xff", 0), specials + piece(std::string(5000, 'a'), 0),
        specials + piece("a", std::numeric_limits<float>::infinity()),
        specials + piece("a", std::numeric_limits<float>::quiet_NaN()),
        specials + field(2, number(3, 2)), specials + field(2, "\x18"),
        specials + varint(1 << 3 | 2) + varint(uint64_t{1} << 62), specials + varint(7 << 3 | 3),
        specials + std::string(11, '\x80'), piece("a", 0) + piece("b", 0) + piece("c", 0)})
    EXPECT_EQ(load_model(bytes), Outcome::refused) << bytes.substr(0, 80);
  // What is not known is passed over, as protocol buffers have it.
  EXPECT_EQ(load_model(specials + number(99, 1) + varint(98 << 3 | 1) + std::string(8, 'x')),
            Outcome::loaded);
}

TEST(HostileUnigram, RefusesDamagedCharacterMaps) {
  const auto with_map = [](const std::string& map) {
    return load_model(special_pieces() + field(3, field(2, map)));
  };
  const std::string map = small_map();
  EXPECT_EQ(with_map(map), Outcome::loaded);
  EXPECT_EQ(with_map("abc"), Outcome::refused);
  EXPECT_EQ(with_map(u32(0) + "x"), Outcome::refused);
  EXPECT_EQ(with_map(u32(3) + "xyz"), Outcome::refused);
  EXPECT_EQ(with_map(u32(0xFFFFFFFC) + map), Outcome::refused);
  EXPECT_EQ(with_map(map.substr(0, map.size() - 2)), Outcome::refused);  // no replacements
  EXPECT_EQ(with_map(map + "\xff"), Outcome::refused);
  EXPECT_EQ(with_map(map.substr(0, map.size() - 2) + "\x80" + '\0'), Outcome::refused);
  for (const uint32_t far : {uint32_t{1} << 20, uint32_t{0x1FFFFF}}) {
    std::string changed = map;
    changed.replace(4 + 4 * (128 ^ 'A'), 4, u32('A' | 1 << 8 | far << 10));
    EXPECT_EQ(with_map(changed), Outcome::refused) << far;
  }
  std::string rootless = map;  // leads out of the trie, where nothing is found
  rootless.replace(4, 4, u32(uint32_t{0x1FFFFF} << 10));
  EXPECT_EQ(with_map(rootless), Outcome::loaded);
}

TEST(HostileUnigram, RefusesTokenizerJsonOfAnotherKind) {
  const auto with = [](const std::string& pointer, const Json& value) {
    Json json = Json::parse(small_json);
    json[Json::json_pointer(pointer)] = value;
    return load_json(json.dump());
  };
  EXPECT_EQ(with("/normalizer", nullptr), Outcome::loaded);
  EXPECT_EQ(with("/pre_tokenizer", nullptr), Outcome::loaded);
  for (const char* value : {"null", "7", "{}", "[]", R"({"type": "BPE"})"})
    EXPECT_EQ(with("/model", Json::parse(value)), Outcome::refused) << value;
  for (const char* value : {"null", "[]", "{}", R"([["a", 0]])", R"([["a"]])", R"([["a", "0"]])",
                            R"([[7, 0]])", R"([["<pad>", 0], ["</s>", 0], ["</s>", 0]])"})
    EXPECT_EQ(with("/model/vocab", Json::parse(value)), Outcome::refused) << value;
  for (const char* value : {"null", "-1", "6", "1e9", "\"2\"", "99999999999999999999"})
    EXPECT_EQ(with("/model/unk_id", Json::parse(value)), Outcome::refused) << value;
  EXPECT_EQ(with("/model/byte_fallback", 7), Outcome::refused);
  for (const char* value :
       {"7", "{}", R"({"type": "Lowercase"})", R"({"type": "Sequence"})",
        R"({"type": "Precompiled"})", R"({"type": "Precompiled", "precompiled_charsmap": "?"})",
        R"({"type": "Precompiled", "precompiled_charsmap": "===="})",
        R"({"type": "Precompiled", "precompiled_charsmap": "AAAA"})",
        R"({"type": "Replace", "content": " "})",
        R"({"type": "Replace", "pattern": {"Regex": "("}, "content": " "})",
        R"({"type": "Replace", "pattern": {"String": ""}, "content": " "})",
        R"({"type": "Replace", "pattern": {"String": "a"}})"})
    EXPECT_EQ(with("/normalizer", Json::parse(value)), Outcome::refused) << value;
  for (const char* value :
       {"7", "{}", R"({"type": "ByteLevel"})", R"({"type": "Sequence"})",
        R"({"type": "Metaspace"})", R"({"type": "Metaspace", "replacement": "__"})",
        R"({"type": "Metaspace", "replacement": "_", "prepend_scheme": "first"})",
        R"({"type": "Metaspace", "replacement": "_", "split": 1})"})
    EXPECT_EQ(with("/pre_tokenizer", Json::parse(value)), Outcome::refused) << value;
}

TEST(HostileUnigram, SurvivesEveryMutation) {
  std::mt19937 random(23);
  const auto mutated = [&](std::string bytes) {
    for (size_t changes = 1 + random() % 3; changes > 0 && !bytes.empty(); --changes) {
      const size_t at = random() % bytes.size(), length = 1 + random() % 20;
      switch (random() % 4) {
        case 0:
          bytes.resize(at);
          break;
        case 1:
          bytes[at] = static_cast<char>(random());
          break;
        case 2:
          bytes.erase(at, length);
          break;
        default:
          bytes.insert(at, bytes.substr(random() % bytes.size(), length));
          break;
      }
    }
    return bytes;
  };
  // The character map fills most of the model, so much is damaged by hand without it, too.
  const std::string mapless = special_pieces() + piece("\u2581", -2) + piece("cat", -4);
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    refused += load_model(mutated(small_model())) == Outcome::refused;
    refused += load_model(mutated(mapless)) == Outcome::refused;
    refused += load_json(mutated(small_json)) == Outcome::refused;
  }
  EXPECT_GE(refused, 300);
}

TEST(HostileUnigram, NamesFoldersWithoutATokenizer) {
  EXPECT_EQ(load("other.txt", ""), Outcome::refused);
  EXPECT_THROW(UnigramTokenizer::load("/nowhere"), LoadError);
}

}  // namespace
}  // namespace backlot
