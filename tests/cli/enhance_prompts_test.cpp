// `backlot enhance` as it is used: short prompts, what reaches the terminal, and how it ends.
#include <fmt/format.h>
#include <signal.h>

#include <chrono>
#include <set>
#include <thread>

#include "enhance_fixture.h"

namespace backlot {
namespace {

using namespace std::chrono_literals;

TEST_F(Enhance, EnhancesPromptsWithAGguf) {
  for (const char* architecture : {"llama", "qwen2"}) {
    const std::string model = saying(architecture);
    const auto result =
        with(model, {"--prompt", "a red fox", "--variants", "3", "--seed", "5", "--json", "-"},
             "\n a blue cat \r\n");
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const auto lines = json_lines(result.out);
    ASSERT_EQ(lines.size(), 6u);
    std::set<std::string> texts;
    for (size_t i = 0; i < lines.size(); ++i) {
      const Json& line = lines[i];
      EXPECT_EQ(line.at("id"), fmt::format("prompt-{}-{}", i / 3 + 1, i % 3 + 1));
      EXPECT_EQ(line.at("prompt"), i < 3 ? "a red fox" : "a blue cat");
      EXPECT_FALSE(line.at("fell_back").get<bool>()) << line.dump();
      EXPECT_EQ(line.at("finish_reason"), "stop");
      EXPECT_GT(line.at("prompt_tokens"), 100);
      texts.insert(line.at("text"));
      if (i == 2) {
        EXPECT_EQ(texts.size(), 3u) << "variants of one prompt differ";
      }
    }
    // The text alone, streamed or not.
    const std::vector<std::string> one = {"--prompt", "a red fox", "--seed", "5"};
    const auto printed = with(model, one);
    EXPECT_EQ(printed.out, lines[0].at("text").get<std::string>() + "\n");
    auto streamed = one;
    streamed.push_back("--stream");
    EXPECT_EQ(with(model, streamed).out, printed.out);
  }
}

TEST_F(Enhance, NamesThePromptThatIsWrong) {
  const auto of_input = [&](const std::string& lines) { return with(tiny, {"-"}, lines); };
  expect_error(of_input("\n \r\n"), 2, "standard input: has no prompts");
  expect_error(of_input("a fox\r\n\r\na \xff fox\n"), 2, "standard input:3: is no UTF-8");
  expect_error(of_input(std::string("a fox\na \0 fox\n", 14)), 2,
               "standard input:2: holds a NUL character");
  expect_error(with(tiny, {"--prompt", "a fox", "--prompt", " "}), 2, "--prompt 2: is empty");
  for (const char* seed : {"-1", "99999999999999999999999", "1.5", ""})
    expect_error(with(tiny, {"--prompt", "a fox", "--seed", seed}), 2,
                 "--seed: is no whole number from 0 to 2^64-1");
  expect_error(with(tiny, {"--prompt", "a fox", "--temperature", "-1"}), 2,
               "--temperature -1: is out of range");
  expect_error(with(tiny, {"--prompt", "a fox", "--temperature", "warm"}), 2,
               "--temperature warm: is no number");
}

TEST_F(Enhance, StopsShortPromptsWhereItIsTold) {
  const std::string model = saying();
  const Json line =
      json_lines(with(model, {"--prompt", "a red fox", "--stop", " cat", "--json"}).out).at(0);
  EXPECT_TRUE(line.at("fell_back").get<bool>());  // what is left is too short for the style
  EXPECT_EQ(line.at("token_ids").size(), 2u);
  const Json on = json_lines(with(model, {"--prompt", "a red fox", "--ignore-eos", "--max-tokens",
                                          "30", "--json"})
                                 .out)
                      .at(0);
  EXPECT_EQ(on.at("token_ids").size(), 30u);
}

TEST_F(Enhance, KeepsAPromptThatTheModelCannotTakeAndSaysSo) {
  std::string words;
  for (int i = 0; i < 1600; ++i) words += "fox ";
  const auto result = with(saying(), {"--prompt", "a red fox", "--prompt", words, "--json"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.err.find("error: --prompt 2: "), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("the model's context is 4096"), std::string::npos) << result.err;
  const auto lines = json_lines(result.out);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_FALSE(lines[0].at("fell_back").get<bool>());
  EXPECT_TRUE(lines[1].at("fell_back").get<bool>());
}

TEST_F(Enhance, KeepsWhatDrivesATerminalFromIt) {
  TinyLanguageModel model;
  model.layers = 1;
  model.context = 2048;
  model.draw_saying({{"A \x1b[31mred\x1b]0;title\x07 fox"},
                     {" \xc2\x9b"
                      "2J\xc2\x85 in"},
                     {"\r\x7f\x08 grüner\nWald"}});
  model.write_gguf(work_ / "odd.gguf");
  write("chat.json", R"([{"role": "user", "content": "fox"}])");
  const std::string bare = "A [31mred]0;title fox 2J in grüner\nWald\n";
  EXPECT_EQ(with("odd.gguf", {"--messages", "chat.json"}).out, bare);
  EXPECT_EQ(with("odd.gguf", {"--messages", "chat.json", "--stream"}).out, bare);
  const auto prompts = with("odd.gguf", {"--prompt", "fox \x1b[2J", "-v"});
  EXPECT_EQ(prompts.out.find('\x1b'), std::string::npos);
  EXPECT_EQ(prompts.err.find('\x1b'), std::string::npos);
  // JSON has all of it, escaped.
  const std::string json = with("odd.gguf", {"--messages", "chat.json", "--json"}).out;
  for (const char* raw : {"\x1b", "\x7f", "\xc2\x9b", "\xc2\x85", "\r", "\x07"})
    EXPECT_EQ(json.find(raw), std::string::npos);
  EXPECT_EQ(json_lines(json).at(0).at("text"),
            "A \x1b[31mred\x1b]0;title\x07 fox \xc2\x9b"
            "2J\xc2\x85 in\r\x7f\x08 grüner\nWald");
}

TEST_F(Enhance, IsNoSuccessIfItCannotBeWritten) {
  write("chat.json", R"([{"role": "user", "content": "fox"}])");
  const std::string model = saying();
  for (const char* how : {"", " --json", " --stream"}) {
    const auto result =
        run_program({"bash", "-c",
                     fmt::format("{} enhance --model {} --device cpu --messages chat.json{} "
                                 ">/dev/full",
                                 BACKLOT_BINARY, model, how)},
                    {.folder = work_.path()});
    EXPECT_EQ(result.exit_code, 3) << how;
    EXPECT_NE(result.err.find("standard output: cannot be written; "), std::string::npos)
        << result.err;
  }
}

// The first line that is lost ends it: nobody waits for hours of texts that go nowhere.
TEST_F(Enhance, EndsWithThePipeItWritesTo) {
  std::string lines;
  for (int i = 0; i < 2000; ++i)
    lines += envelope(fmt::format("{}", i), "fox",
                      {{"max_tokens", i < 2 ? 1 : 1900}, {"ignore_eos", true}});
  write("requests.jsonl", lines);
  const auto result =
      run_program({"bash", "-c",
                   fmt::format("{} enhance --model {} --device cpu --threads 1 --requests "
                               "requests.jsonl --json --max-sequences 1 | (exit 0); "
                               "exit ${{PIPESTATUS[0]}}",
                               BACKLOT_BINARY, tiny)},
                  {.folder = work_.path()});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_NE(result.err.find("standard output: cannot be written; "), std::string::npos)
      << result.err;
}

TEST_F(Enhance, EndsSoonWhenAsked) {
  std::string lines = envelope("first", "fox", {{"max_tokens", 1}});
  for (int i = 0; i < 2000; ++i)
    lines += envelope(fmt::format("{}", i), "fox", {{"max_tokens", 1900}, {"ignore_eos", true}});
  for (const auto& [signal, code] : {std::pair{SIGINT, 130}, std::pair{SIGTERM, 143}}) {
    Process process({BACKLOT_BINARY, "enhance", "--model", tiny, "--device", "cpu", "--requests",
                     "-", "--json", "--max-sequences", "2"},
                    {.input = lines});
    while (process.output().empty() && process.running()) std::this_thread::sleep_for(5ms);
    process.send(signal);
    const auto start = std::chrono::steady_clock::now();
    const auto result = process.wait();
    EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
    EXPECT_EQ(result.exit_code, code) << result.err;
    EXPECT_NE(result.err.find("interrupted"), std::string::npos) << result.err;
    EXPECT_EQ(json_lines(result.out).at(0).at("id"), "first");  // whole lines only
  }
}

}  // namespace
}  // namespace backlot
