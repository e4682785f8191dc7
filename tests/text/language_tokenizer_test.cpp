#include "text/language_tokenizer.h"

#include <gtest/gtest.h>

#include <random>

#include "base/error.h"
#include "base/files.h"
#include "support/temporary_folder.h"
#include "text/detokenizer.h"

namespace backlot {
namespace {

const fs::path data = fs::path(BACKLOT_TEST_DATA) / "tokenizers";

Json reference(const std::string& name) { return Json::parse(read_file(data / (name + ".json"))); }

std::vector<std::string> strings(const std::string& name) {
  auto all = Json::parse(read_file(data / "strings.json")).get<std::vector<std::string>>();
  for (const auto& more : reference(name).value("strings", Json::array()))
    all.push_back(more.get<std::string>());
  return all;
}

// The folder's tokenizer as a GGUF would hold it.
TokenizerData as_gguf(const std::string& name, const std::string& pre) {
  TokenizerData gguf;
  gguf.file = "model.gguf";
  gguf.model = "gpt2";
  gguf.pre = pre;
  const BpeFiles files = read_bpe_files(data / name);
  Vocabulary vocabulary = files.vocabulary;
  const SpecialTokens special = read_special_tokens(data / name, {}, vocabulary);
  gguf.tokens.resize(vocabulary.size());
  for (const auto& [token, id] : vocabulary) gguf.tokens[static_cast<size_t>(id)] = token;
  gguf.token_types.assign(vocabulary.size(), 1);
  for (const auto& token : special.tokens)
    gguf.token_types[static_cast<size_t>(token.id)] = token.special ? 3 : 4;
  for (const auto& merge : files.merges) gguf.merges.push_back(merge.left + " " + merge.right);
  const auto eos = special.named.find("eos_token");
  if (eos != special.named.end()) gguf.eos = eos->second.id;
  return gguf;
}

class Language : public testing::TestWithParam<std::pair<const char*, const char*>> {
 protected:
  const std::string name = GetParam().first;
  const LanguageTokenizer folder = LanguageTokenizer::load(data / name);
  const LanguageTokenizer gguf = LanguageTokenizer::from_gguf(as_gguf(name, GetParam().second));
};

TEST_P(Language, GivesTheReferenceIds) {
  const auto texts = strings(name);
  const Json expected = reference(name);
  ASSERT_EQ(texts.size(), expected["ids"].size());
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto ids = expected["ids"][i].get<std::vector<int32_t>>();
    EXPECT_EQ(folder.encode(texts[i]), ids) << texts[i];
    EXPECT_EQ(gguf.encode(texts[i]), ids) << texts[i];
    EXPECT_EQ(folder.decode(ids), expected["decoded"][i].get<std::string>());
  }
}

TEST_P(Language, StreamsWhatItDecodes) {
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    std::vector<int32_t> ids(random() % 30);
    for (int32_t& id : ids)
      id = static_cast<int32_t>(random() % (round % 2 ? 256 : folder.vocabulary_size() + 20));
    for (const auto shown : {SpecialTokensShown::yes, SpecialTokensShown::no}) {
      Detokenizer detokenizer(folder, shown);
      std::string streamed;
      for (const int32_t id : ids) streamed += detokenizer.add(id);
      streamed += detokenizer.finish();
      EXPECT_EQ(streamed, folder.decode(ids, shown));
    }
  }
}

TEST_P(Language, KeepsSpecialTokensOutOfTextOnRequest) {
  const int32_t end = folder.end_of_turn().at(0);
  const std::string mark(folder.piece(end));
  EXPECT_EQ(folder.encode(mark), std::vector{end});
  EXPECT_TRUE(folder.is_special(end));
  for (const auto* tokenizer : {&folder, &gguf}) {
    const auto plain = tokenizer->encode("a" + mark + "b", SpecialTokensInText::plain);
    EXPECT_EQ(std::count(plain.begin(), plain.end(), end), 0);
    EXPECT_EQ(tokenizer->decode(plain), "a" + mark + "b");
    EXPECT_EQ(tokenizer->decode(std::vector{end, plain[0]}, SpecialTokensShown::no), "a");
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, Language,
                         testing::Values(std::pair("qwen2", "qwen2"),
                                         std::pair("smollm2", "smollm"),
                                         std::pair("llama3", "llama-bpe")));

TEST(LanguageTokenizer, ReadsQwensFromTokenizerJson) {
  TemporaryFolder folder;
  const auto lines = read_bpe_files(data / "qwen2").merges;
  Json json;
  json["model"] = {{"type", "BPE"}, {"vocab", Json::parse(read_file(data / "qwen2/vocab.json"))}};
  for (const auto& merge : lines) json["model"]["merges"].push_back(merge.left + " " + merge.right);
  write_file_durably(folder / "tokenizer.json", json.dump());
  fs::copy(data / "qwen2/tokenizer_config.json", folder / "tokenizer_config.json");
  const auto tokenizer = LanguageTokenizer::load(folder.path());
  const auto texts = strings("qwen2");
  const Json expected = reference("qwen2");
  for (size_t i = 0; i < texts.size(); ++i)
    EXPECT_EQ(tokenizer.encode(texts[i]), expected["ids"][i].get<std::vector<int32_t>>());
}

TEST(LanguageTokenizer, PutsBosBeforeACompletion) {
  const auto tokenizer = LanguageTokenizer::load(data / "llama3");
  const Json expected = reference("llama3");
  for (size_t i = 0; i < expected["strings"].size(); ++i)
    EXPECT_EQ(tokenizer.encode_completion(expected["strings"][i].get<std::string>()),
              expected["ids_special"][i].get<std::vector<int32_t>>());
  const auto qwen = LanguageTokenizer::load(data / "qwen2");
  EXPECT_EQ(qwen.encode_completion("a b"), qwen.encode("a b"));
  TokenizerData gguf = as_gguf("llama3", "llama-bpe");
  gguf.bos = tokenizer.bos();
  gguf.add_bos = true;
  EXPECT_EQ(LanguageTokenizer::from_gguf(gguf).encode_completion("a b"),
            tokenizer.encode_completion("a b"));
}

TEST(LanguageTokenizer, KnowsWhatEndsAnAnswer) {
  const auto tokenizer = LanguageTokenizer::load(data / "llama3");
  const std::vector expected = {*tokenizer.id_of("<|end_of_text|>"),
                                *tokenizer.id_of("<|eot_id|>")};
  EXPECT_EQ(tokenizer.end_of_turn(), expected);
  TokenizerData gguf = as_gguf("llama3", "llama-bpe");
  gguf.eot = tokenizer.id_of("a");
  const auto ends = LanguageTokenizer::from_gguf(gguf).end_of_turn();
  EXPECT_EQ(ends, (std::vector{*tokenizer.id_of("a"), expected[0], expected[1]}));
}

TEST(LanguageTokenizer, RendersChats) {
  const Json messages = Json::parse(R"([{"role": "user", "content": " Hi "}])");
  const auto llama = LanguageTokenizer::load(data / "llama3");  // has no template of its own
  EXPECT_EQ(llama.render_chat(messages),
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
  EXPECT_EQ(llama.encode(llama.render_chat(messages))[0], *llama.bos());
  TokenizerData gguf = as_gguf("qwen2", "qwen2");
  EXPECT_EQ(LanguageTokenizer::from_gguf(gguf).render_chat(messages, false),
            "<|im_start|>user\n Hi <|im_end|>\n");
  gguf.chat_template = "{{ eos_token }}{{ bos_token }}{{ messages[0].content }}{{ x }}";
  EXPECT_EQ(LanguageTokenizer::from_gguf(gguf).render_chat(messages, true, {{"x", 5}}),
            "<|im_end|> Hi 5");
  gguf.chat_template = "{% if %}";
  EXPECT_THROW(LanguageTokenizer::from_gguf(gguf).render_chat(messages), LoadError);
  EXPECT_THROW(llama.render_chat(Json::array()), UsageError);
  for (auto& token : gguf.tokens)
    if (token.starts_with("<|im_")) token[2] = 'X';
  gguf.chat_template.clear();
  EXPECT_THROW(LanguageTokenizer::from_gguf(gguf).render_chat(messages), LoadError);
}

TEST(LanguageTokenizer, ReadsTheTemplateWhereverItIs) {
  const auto template_of = [](const std::map<std::string, std::string>& more) {
    TemporaryFolder folder;
    for (const auto& entry : fs::directory_iterator(data / "smollm2"))
      fs::copy(entry.path(), folder / entry.path().filename().string());
    for (const auto& [name, bytes] : more) write_file_durably(folder / name, bytes);
    return LanguageTokenizer::load(folder.path()).chat_template();
  };
  const std::string jinja = "chat_template.jinja", config = "chat_template.json";
  EXPECT_EQ(template_of({{jinja, "from a file"}, {config, R"({"chat_template": "x"})"}}),
            "from a file");
  EXPECT_EQ(template_of({{config, R"({"chat_template": "x"})"}}), "x");
  EXPECT_EQ(template_of({{config, R"({"chat_template": [{"name": "tool_use", "template": "t"},
                                     {"name": "default", "template": "d"}]})"}}),
            "d");
  EXPECT_THROW(template_of({{config, R"({"chat_template": 5})"}}), LoadError);
  EXPECT_THROW(template_of({{jinja, std::string(2 << 20, 'x')}}), LoadError);
  EXPECT_THROW(template_of({{"generation_config.json", R"({"eos_token_id": "x"})"}}), LoadError);
  EXPECT_THROW(template_of({{"generation_config.json", R"({"eos_token_id": [-1]})"}}), LoadError);
}

TEST(LanguageTokenizer, RefusesGgufsItCannotUse) {
  const auto refused = [](auto change) {
    TokenizerData gguf = as_gguf("qwen2", "qwen2");
    change(gguf);
    try {
      LanguageTokenizer::from_gguf(gguf);
      return std::string();
    } catch (const LoadError& error) {
      EXPECT_EQ(error.where().substr(0, 10), "model.gguf");
      return error.problem();
    }
  };
  EXPECT_EQ(refused([](TokenizerData&) {}), "");
  EXPECT_NE(refused([](TokenizerData& g) { g.model = "llama"; }).find("'llama'"),
            std::string::npos);
  EXPECT_NE(refused([](TokenizerData& g) { g.pre = "viking"; }).find("'viking'"),
            std::string::npos);
  EXPECT_NE(refused([](TokenizerData& g) { g.tokens.clear(); }), "");
  EXPECT_NE(refused([](TokenizerData& g) { g.tokens[5] = g.tokens[6]; }), "");
  EXPECT_NE(refused([](TokenizerData& g) { g.token_types.pop_back(); }), "");
  EXPECT_NE(refused([](TokenizerData& g) { g.merges[3] = "nopair"; }), "");
  EXPECT_NE(refused([](TokenizerData& g) { g.merges[3] = "zz qq"; }), "");
  EXPECT_NE(refused([](TokenizerData& g) { g.eos = 1 << 30; }), "");
  EXPECT_NE(refused([](TokenizerData& g) { g.bos = -1; }), "");
  EXPECT_NE(refused([](TokenizerData& g) { g.eot = static_cast<int64_t>(g.tokens.size()); }), "");
}

TEST(Detokenizer, HoldsBackUnfinishedCharacters) {
  const auto tokenizer = LanguageTokenizer::load(data / "qwen2");
  const auto ids = tokenizer.encode("🦊é");  // a token for each byte, or nearly
  Detokenizer detokenizer(tokenizer);
  std::vector<std::string> given;
  for (const int32_t id : ids) given.emplace_back(detokenizer.add(id));
  EXPECT_EQ(given.front(), "");
  std::string all;
  for (const auto& part : given) {
    EXPECT_EQ(part.find("\xEF\xBF\xBD"), std::string::npos);
    all += part;
  }
  EXPECT_EQ(all, "🦊é");
  EXPECT_EQ(detokenizer.finish(), "");
  detokenizer.add(ids[0]);
  EXPECT_EQ(detokenizer.finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(detokenizer.add(tokenizer.encode("a")[0]), "a");
}

}  // namespace
}  // namespace backlot
