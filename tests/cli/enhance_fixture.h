// `backlot enhance` in tests: its tiny models, its input and what it prints.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/text.h"
#include "support/command.h"
#include "support/saying_model.h"
#include "support/temporary_folder.h"

namespace backlot {

inline const std::string tiny = BACKLOT_TEST_DATA "/oracles/qwen2.5/model";

inline std::vector<Json> json_lines(const std::string& text) {
  std::vector<Json> lines;
  for (const auto& line : split(text, '\n'))
    if (!line.empty()) lines.push_back(Json::parse(line));
  return lines;
}

inline std::string envelope(const std::string& id, const std::string& content,
                            Json body = Json::object()) {
  body["messages"] = {{{"role", "user"}, {"content", content}}};
  return Json{{"custom_id", id}, {"body", body}}.dump() + "\n";
}

class Enhance : public ::testing::Test {
 protected:
  // `enhance` with this model. One thread: on a busy machine those of models so small would wait
  // for each other most of the time.
  CommandResult with(const std::string& model, std::vector<std::string> arguments,
                     const std::string& input = "") {
    arguments.insert(arguments.begin(),
                     {"enhance", "--model", model, "--device", "cpu", "--threads", "1"});
    return backlot(arguments, {.folder = work_.path(), .input = input});
  }
  CommandResult chat(std::vector<std::string> arguments,
                     const std::string& content = "Write one line about the sea.") {
    write("chat.json", Json{{{"role", "user"}, {"content", content}}}.dump());
    arguments.insert(arguments.begin(), {"--messages", "chat.json", "--dtype", "float32"});
    return with(tiny, arguments);
  }
  CommandResult requests(std::vector<std::string> arguments, const std::string& lines) {
    arguments.insert(arguments.begin(), {"--requests", "-", "--json", "--dtype", "float32"});
    return with(tiny, arguments, lines);
  }
  void write(const std::string& name, const std::string& bytes) {
    write_quickly(work_ / name, bytes);
  }
  std::string saying(const std::string& architecture = "llama") {
    write_saying_gguf(work_ / "fox.gguf", architecture);
    return "fox.gguf";
  }

  TemporaryFolder work_;
};

// One line that says where, what and what to do, and the right exit code.
inline void expect_error(const CommandResult& result, int code, const std::string& line) {
  EXPECT_EQ(result.exit_code, code) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(result.err.rfind("backlot: error: " + line, 0), 0u) << result.err;
  EXPECT_NE(result.err.find("; "), std::string::npos) << result.err;
  EXPECT_EQ(std::ranges::count(result.err, '\n'), 1) << result.err;
}

}  // namespace backlot
