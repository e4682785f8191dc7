#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "spec/output_names.h"
#include "spec_world.h"

namespace backlot {
namespace {

// 200 texts that file systems, terminals or scripts trip over.
std::vector<std::string> hostile_texts() {
  std::vector<std::string> texts = {"..",
                                    ".",
                                    "",
                                    "/",
                                    "//",
                                    "/etc/passwd",
                                    "../../../../tmp/x",
                                    "..\\..\\x",
                                    "C:\\x",
                                    "~root",
                                    "a/b/../../..",
                                    "CON",
                                    "con.txt",
                                    "NUL",
                                    "AUX.png",
                                    "COM1",
                                    "lpt9.a",
                                    ".hidden",
                                    "-rf",
                                    "--",
                                    "a\nb",
                                    "a\rb",
                                    "\t",
                                    " ",
                                    "a\x1b[2J",
                                    "$(reboot)",
                                    "`id`",
                                    "%2e%2e%2f",
                                    "a;b",
                                    "a|b",
                                    "a&b",
                                    "*",
                                    "?",
                                    "<x>",
                                    "\"q\"",
                                    "'q'",
                                    "\xe2\x80\xae"
                                    "gnp.exe",
                                    "\xef\xbc\x8f"
                                    "etc",
                                    "Straße",
                                    "STRASSE",
                                    "straße",
                                    "İ",
                                    "i",
                                    "I",
                                    "ı",
                                    "\xcc\x81",
                                    "e\xcc\x81",
                                    "é",
                                    "É",
                                    "manifest.json",
                                    "journal",
                                    "report.html",
                                    ".backlot-tmp-x",
                                    "index",
                                    "{slug}",
                                    "{id",
                                    "}"};
  for (const char* unit : {"x", "\xf0\x9f\x8d\x8e", "ab/", "../", "é", ".", "-", " "}) {
    std::string text;
    for (int i = 0; i < 300; ++i) text += unit;
    texts.push_back(text);
  }
  for (const char* twin : {"Apple", "apple", "APPLE", "aPPle", "a-pple", "apple-2", "APPLE-2"})
    texts.push_back(twin);
  for (int i = 0; texts.size() < 200; ++i)
    texts.push_back(std::string(1, static_cast<char>(1 + i % 127)) + "../" + std::to_string(i / 7));
  return texts;
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

TEST(OutputNames, HoldHostileTextsInTheRunFolder) {
  for (const char* name_template :
       {"{slug}", "{job}", "{name}", "{job}/{slug}", "{job}{job}{job}{job}",
        "x{slug}{slug}{slug}{slug}{slug}", "fixed", "é{slug}/{job}-{index}"}) {
    std::set<std::string> seen;
    const TemporaryFolder run;
    for (const auto& text : hostile_texts()) {
      OutputNames names(name_template, text, ".png");
      names.next({.prompt = text, .job = text});
    }
    OutputNames names(name_template, "run", ".png");
    for (const auto& text : hostile_texts()) {
      const std::string name = names.next({.prompt = text, .job = text});
      EXPECT_TRUE(seen.insert(lower(name)).second) << name_template << ": " << name;
      const fs::path path = run / name;
      EXPECT_TRUE(path.lexically_normal().string().starts_with(run.path().string() + "/")) << name;
      for (const auto& part : fs::path(name)) {
        EXPECT_LE(part.string().size(), 215u);
        EXPECT_NE(part.string().front(), '.');
      }
      fs::create_directories(path.parent_path());
      std::ofstream(path) << text;
      EXPECT_TRUE(fs::exists(path)) << name;
    }
  }
}

TEST(OutputNames, AreWhatTheTemplateSays) {
  OutputNames names("{name}/{job}_{index:05}-{slug}-{seed}.{id}.{width}x{height:06}.{steps}", "r",
                    ".webp");
  EXPECT_EQ(names.next({.index = 7,
                        .prompt = "A red Apple!",
                        .seed = 3,
                        .id = "0123456789abcdef",
                        .job = "x",
                        .width = 64,
                        .height = 32,
                        .steps = 4}),
            "r/x_00007-a-red-apple-3.0123456789ab.64x000032.4.webp");
}

TEST(OutputNames, NumberWhatRepeats) {
  OutputNames names("{slug}", "r", ".png");
  const auto next = [&](const std::string& prompt) { return names.next({.prompt = prompt}); };
  EXPECT_EQ(next("a"), "a.png");
  EXPECT_EQ(next("a-2"), "a-2.png");
  EXPECT_EQ(next("A"), "a-3.png");
  EXPECT_EQ(next("a"), "a-4.png");
  EXPECT_EQ(next("con"), "_con.png");
}

TEST(OutputNames, HostileSpecsKeepTheirItemsApart) {
  const SpecWorld world;
  Json jobs = Json::array();
  std::set<std::string> ids;
  for (const auto& text : hostile_texts())
    if (!text.empty() && text.size() <= 1000 && ids.insert(text).second)
      jobs.push_back({{"id", text}, {"prompt", "p" + std::to_string(ids.size())}, {"seed", 1}});
  const auto file = world.write(
      "h.json", Json({{"model", "model"}, {"jobs", jobs}, {"output", {{"name", "{job}"}}}}).dump());
  std::set<std::string> outputs;
  for (const auto& item : world.plan(read_spec(file)).items) {
    EXPECT_TRUE(item.output.starts_with("images/") && item.output.ends_with(".png"));
    EXPECT_EQ(item.output.find('/', 7), std::string::npos);
    outputs.insert(lower(item.output));
  }
  EXPECT_EQ(outputs.size(), ids.size());
}

}  // namespace
}  // namespace backlot
