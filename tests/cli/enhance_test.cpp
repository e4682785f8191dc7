// `backlot enhance` as it is used: chats, batches of them, and what can be wrong with them.
#include <fmt/format.h>

#include <limits>

#include "enhance_fixture.h"

namespace backlot {
namespace {

TEST_F(Enhance, AnswersAChatAsTransformersDoes) {
  const Json oracle =
      Json::parse(read_file(BACKLOT_TEST_DATA "/oracles/qwen2.5/case.json")).at("job");
  for (size_t i = 0; i < oracle.at("chats").size(); ++i) {
    write("chat.json", oracle.at("chats")[i].dump());
    const auto result =
        with(tiny, {"--messages", "chat.json", "--dtype", "float32", "--temperature", "0",
                    "--max-tokens", "48", "--ignore-eos", "--json"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const auto lines = json_lines(result.out);
    ASSERT_EQ(lines.size(), 1u);
    const Json& line = lines[0];
    EXPECT_EQ(line.at("text"), oracle.at("decoded")[i]);
    EXPECT_EQ(line.at("token_ids").size(), 48u);
    EXPECT_EQ(line.at("finish_reason"), "length");
    EXPECT_EQ(line.at("prompt"), oracle.at("chats")[i].back().at("content"));
    EXPECT_GT(line.at("prompt_tokens"), 40);
    EXPECT_TRUE(line.at("id").is_string());
    EXPECT_EQ(result.err, "");
  }
}

// The bundled model, if it is there: its weights as float32 give what transformers gives.
TEST_F(Enhance, ContinuesAsTheRealModelDoes) {
  const fs::path model = fs::path(BACKLOT_SOURCE_DIR) / "models" / "smollm2";
  const Json oracle =
      Json::parse(read_file(BACKLOT_TEST_DATA "/oracles/lm-smollm2-pictures/case.json"));
  const fs::path file = model / oracle.at("model").get<std::string>();
  if (!fs::exists(file)) GTEST_SKIP() << "no " << file << "; 'make setup' fetches it";
  constexpr size_t some = 2, length = 20;  // all 64 tokens of all prompts take a minute
  std::string lines;
  for (size_t i = 0; i < some; ++i) {
    Json body = {{"messages", oracle.at("prompts")[i].at("messages")}};
    lines += Json{{"custom_id", std::to_string(i)}, {"body", body}}.dump() + "\n";
  }
  const auto result =
      backlot({"enhance", "--model", model, "--device", "cpu", "--dtype", "float32", "--requests",
               "-", "--json", "--temperature", "0", "--max-tokens", std::to_string(length)},
              {.folder = work_.path(), .input = lines});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto answers = json_lines(result.out);
  ASSERT_EQ(answers.size(), some);
  for (size_t i = 0; i < some; ++i) {
    const Json& prompt = oracle.at("prompts")[i];
    const auto generated = prompt.at("generated").get<std::vector<int32_t>>();
    EXPECT_EQ(answers[i].at("prompt_tokens"), prompt.at("input_ids").size());
    EXPECT_EQ(answers[i].at("token_ids").get<std::vector<int32_t>>(),
              std::vector(generated.begin(), generated.begin() + length));
    EXPECT_TRUE(
        prompt.at("text").get<std::string>().starts_with(answers[i].at("text").get<std::string>()));
  }
}

TEST_F(Enhance, StreamsWhatItWouldPrint) {
  const auto whole = chat({"--seed", "3", "--max-tokens", "40"});
  const auto streamed = chat({"--seed", "3", "--max-tokens", "40", "--stream"});
  EXPECT_EQ(whole.exit_code, 0) << whole.err;
  EXPECT_EQ(streamed.exit_code, 0) << streamed.err;
  EXPECT_GT(whole.out.size(), 40u);
  EXPECT_EQ(streamed.out, whole.out);
}

TEST_F(Enhance, SaysTheSameAgainWithASeed) {
  const auto said = [&](const std::vector<std::string>& seed) {
    std::vector<std::string> arguments = {"--temperature", "1", "--max-tokens", "12", "--json"};
    arguments.insert(arguments.end(), seed.begin(), seed.end());
    return json_lines(chat(arguments).out).at(0);
  };
  const Json first = said({"--seed", "18446744073709551615"});
  EXPECT_EQ(first.at("seed"), std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(said({"--seed", "18446744073709551615"}).at("token_ids"), first.at("token_ids"));
  EXPECT_NE(said({"--seed", "8"}).at("token_ids"), first.at("token_ids"));
  // One that was drawn is told, and gives the text again.
  const Json drawn = said({});
  EXPECT_EQ(said({"--seed", drawn.at("seed").dump()}).at("token_ids"), drawn.at("token_ids"));
  EXPECT_NE(said({}).at("seed"), drawn.at("seed"));
}

TEST_F(Enhance, EndsAtTokensStopsAndLimits) {
  const std::string model = saying();
  write("chat.json", R"([{"role": "user", "content": "a red fox"}])");
  const auto ask = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"--messages", "chat.json", "--json", "--seed", "1"});
    const auto result = with(model, more);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return json_lines(result.out).at(0);
  };
  const Json whole = ask({});
  const std::string text = whole.at("text");
  EXPECT_TRUE(text.starts_with("A red fox and a blue cat ")) << text;
  EXPECT_TRUE(text.ends_with(".")) << text;
  EXPECT_EQ(whole.at("finish_reason"), "stop");
  EXPECT_EQ(whole.at("token_ids").size(), 7u);  // the end token is one of them

  const Json stopped = ask({"--stop", "no such", "--stop", "blue"});
  EXPECT_EQ(stopped.at("text"), "A red fox and a ");
  EXPECT_EQ(stopped.at("finish_reason"), "stop");

  const Json cut = ask({"--max-tokens", "2"});
  EXPECT_EQ(cut.at("text"), "A red fox and a blue cat");
  EXPECT_EQ(cut.at("finish_reason"), "length");

  const Json on = ask({"--ignore-eos", "--max-tokens", "20"});
  EXPECT_EQ(on.at("token_ids").size(), 20u);
  EXPECT_EQ(on.at("finish_reason"), "length");
}

TEST_F(Enhance, AnswersBatchesInTheirOrder) {
  std::string lines;
  for (int i = 0; i < 12; ++i)
    lines += envelope(fmt::format("id {}", 11 - i), fmt::format("Number {}", i),
                      {{"max_tokens", 1 + (i * 5) % 12}, {"seed", i}, {"temperature", 1}});
  lines += "\n" + envelope("last", "again",
                           {{"temperature", 0},
                            {"max_tokens", 40},
                            {"stop", Json::array({"e"})},
                            {"stream", false},
                            {"n", 1},
                            {"model", "any"},
                            {"user", nullptr}});
  const auto together = requests({}, lines);
  ASSERT_EQ(together.exit_code, 0) << together.err;
  const auto answers = json_lines(together.out);
  ASSERT_EQ(answers.size(), 13u);
  for (int i = 0; i < 12; ++i) {
    EXPECT_EQ(answers[i].at("id"), fmt::format("id {}", 11 - i));
    EXPECT_EQ(answers[i].at("prompt"), fmt::format("Number {}", i));
    EXPECT_LE(answers[i].at("token_ids").size(), 1 + (i * 5) % 12);
    EXPECT_EQ(answers[i].at("seed"), i);
  }
  EXPECT_EQ(answers[12].at("finish_reason"), "stop");
  EXPECT_EQ(answers[12].at("text").get<std::string>().find('e'), std::string::npos);

  // The same texts one by one, and a few together.
  for (const char* at_once : {"1", "5"}) {
    const auto apart = json_lines(requests({"--max-sequences", at_once}, lines).out);
    ASSERT_EQ(apart.size(), answers.size());
    for (size_t i = 0; i < answers.size(); ++i) {
      EXPECT_EQ(apart[i].at("token_ids"), answers[i].at("token_ids")) << at_once << " " << i;
      EXPECT_EQ(apart[i].at("text"), answers[i].at("text"));
    }
  }
}

TEST_F(Enhance, GoesOnAfterARequestThatCannotBeMet) {
  std::string words;
  for (int i = 0; i < 3000; ++i) words += "word ";
  const std::string lines = envelope("1", "Hi", {{"max_tokens", 2}}) + envelope("2", words) +
                            envelope("3", "Ho", {{"max_tokens", 2}});
  const auto result = requests({}, lines);
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.err.find("standard input:2: "), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("the model's context is 2048"), std::string::npos) << result.err;
  const auto answers = json_lines(result.out);
  ASSERT_EQ(answers.size(), 3u);
  EXPECT_EQ(answers[0].at("token_ids").size(), 2u);
  EXPECT_EQ(answers[1].at("id"), "2");
  EXPECT_NE(answers[1].at("error").get<std::string>().find("context"), std::string::npos);
  EXPECT_EQ(answers[2].at("token_ids").size(), 2u);
}

// A batch with a mistake in it is refused before anything is started, with the line.
TEST_F(Enhance, RefusesWrongRequestsBeforeItStarts) {
  const auto refused = [&](const std::string& line, const std::string& message) {
    expect_error(requests({}, envelope("1", "Hi") + line), 2, "standard input:2" + message);
  };
  refused("{\"custom_id\": ", ":15: the JSON ends too early; ");
  refused("{\"custom_id\" \"2\"}", ":16: is no JSON; ");
  refused("[]", ": is no JSON object; ");
  refused("{\"body\": {\"messages\": []}}", ": has no custom_id");
  refused("{\"custom_id\": \"2\"}", ": has no body; ");
  refused("{\"custom_id\": \"2\", \"body\": {}}", ": its body has no messages; ");
  refused(envelope("2", " "), ":");
  refused(envelope("2", "Hi", {{"max_tokens", 0}}), ": its max_tokens is 0; ");
  refused(envelope("2", "Hi", {{"max_tokens", -5}}), ": its max_tokens is -5; ");
  refused(envelope("2", "Hi", {{"max_tokens", "many"}}), ": its max_tokens is \"many\"; ");
  refused(envelope("2", "Hi", {{"temperature", -1}}), ": temperature -1 is out of range; ");
  refused(envelope("2", "Hi", {{"top_p", 2}}), ": top_p 2 is out of range; ");
  refused(envelope("2", "Hi", {{"seed", -1}}), ": its seed is -1; ");
  refused(envelope("2", "Hi", {{"stop", ""}}), ": its stop is \"\"; ");
  refused(envelope("2", "Hi", {{"n", 2}}), ": its body has 'n', which is not supported; ");
  refused(envelope("2", "Hi", {{"stream", true}}), ": its body has 'stream', ");
  refused(envelope("2", "Hi", {{"temprature", 1}}),
          ": its body has 'temprature', which is not supported; did you mean temperature?");
  expect_error(requests({}, "\n\n"), 2, "standard input: has no requests; ");
}

TEST_F(Enhance, RefusesWrongChats) {
  const auto refused = [&](const std::string& text, const std::string& message) {
    write("chat.json", text);
    expect_error(with(tiny, {"--messages", "chat.json"}), 2, "chat.json" + message);
  };
  refused("[{\"role\": \"user\",\n  \"content\" 5}]", ":2:13: is no JSON; ");
  refused("[{\"role\":", ":1:10: the JSON ends too early; ");
  refused("", ":1:1: the JSON ends too early; ");
  refused("[{\"role\": \"user\", \"content\": \"\xff\"}]", ":1:31: is no JSON; ");
  refused("{}", ": not a list; ");
  refused("[]", ": there are none; ");
  refused("[{\"content\": \"Hi\"}]", ":");
  refused("[{\"role\": \"user\", \"content\": \"  \"}]", ": its content is empty; ");
  refused("[{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": 5}]}]", ": not ");
  expect_error(with(tiny, {"--messages", "absent.json"}), 3, "absent.json: cannot open");
}

TEST_F(Enhance, RefusesOptionsThatDoNotGoTogether) {
  const auto refused = [&](std::vector<std::string> arguments, const std::string& message) {
    expect_error(with(tiny, arguments), 2, message);
  };
  refused({}, "enhance: there is no prompt; ");
  refused({"--prompt", ""}, "--prompt 1: is empty; ");
  refused({"--prompt", "a", "--prompt", " \t"}, "--prompt 2: is empty; ");
  refused({"--prompt", "a \xff cat"}, "--prompt 1: is no UTF-8; ");
  refused({"--prompt", "a", "--style", "cinmatic"},
          "--style: unknown style cinmatic; did you mean cinematic?");
  refused({"--prompt", "a", "--stream", "--json"}, "--stream: does not go with --json");
  refused({"--prompt", "a", "--prompt", "b", "--stream"}, "--stream: shows one text");
  refused({"--prompt", "a", "--messages", "chat.json"}, "--messages: does not go with prompts");
  refused({"--prompt", "a", "--temperature", "0", "--variants", "2"}, "--variants: ");
  refused({"--prompt", "a", "--temperature", "nan"}, "--temperature nan: is no number; ");
  refused({"--prompt", "a", "--max-tokens", "0"}, "--max-tokens 0: asks for nothing; ");
  refused({"--prompt", "a", "--top-k", "1.5"}, "--top-k 1.5: is no whole number; ");
  refused({"--prompt", "a", "--top-p", "3"}, "sampling: top_p 3 is out of range; ");
  refused({"--prompt", "a", "--dtype", "float32", "--quantize", "int8"}, "--dtype: has no say");
  refused({"--prompt", "a", "--stop", ""}, "--stop: is empty; ");
  expect_error(with(tiny, {"-"}, "\n \n"), 2, "standard input: has no prompts; ");
  expect_error(with(tiny, {"-"}, "a fox\n\na \xff cat\n"), 2, "standard input:3: is no UTF-8; ");
}

TEST_F(Enhance, RefusesWhatIsNoLanguageModel) {
  const auto refused = [&](const std::string& model, const std::string& message) {
    expect_error(with(model, {"--prompt", "a red fox"}), 3, message);
  };
  refused("absent", "absent: no such model; ");
  refused(BACKLOT_TEST_DATA "/oracles/sdxl-base/model",
          BACKLOT_TEST_DATA "/oracles/sdxl-base/model: this is a picture model");
  fs::copy(tiny, work_ / "bare");
  fs::remove(work_ / "bare" / "vocab.json");
  fs::remove(work_ / "bare" / "merges.txt");
  refused("bare", "bare: has neither merges.txt nor tokenizer.json; ");
  fs::copy(tiny, work_ / "other");
  write("other/config.json", R"({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]})");
  refused("other", "other/config.json: its architecture is GPT2LMHeadModel");
  refused(tiny + "/../../lm-llama3-scaled/model", tiny);  // no tokenizer at all

  const auto whole = read_file(work_ / saying());
  for (const size_t size : {size_t{3}, size_t{100}, size_t{5000}, whole.size() - 1}) {
    write("cut.gguf", whole.substr(0, size));
    refused("cut.gguf", "cut.gguf: ");
  }
}

}  // namespace
}  // namespace backlot
