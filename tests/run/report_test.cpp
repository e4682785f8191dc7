#include "run/report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "base/error.h"
#include "run/fake_run.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

constexpr std::string_view hostile[] = {"</script><script>alert(1)</script>",
                                        "<!--<script>",
                                        "\"><img src=x onerror=alert(1)>",
                                        "' onmouseover='alert(1)",
                                        "]]>",
                                        "@@DATA@@ @@TITLE@@",
                                        "\xe2\x80\xa8line separator",
                                        "javascript:alert(1)",
                                        "&lt;b&gt;"};

// The JSON that the page carries.
Json data_of(const std::string& html) {
  const std::string start = R"(<script type="application/json" id="data">)";
  const size_t from = html.find(start) + start.size();
  return Json::parse(html.substr(from, html.find("</script>", from) - from));
}

size_t count(std::string_view text, std::string_view word) {
  size_t n = 0;
  for (size_t at = 0; (at = text.find(word, at)) != std::string_view::npos; at += word.size()) ++n;
  return n;
}

std::string report_of(const fs::path& folder, const Plan& plan) {
  {
    RunFolder run = fake::open(folder, plan);
    fake::finish(run);
  }
  EXPECT_EQ(build_report(folder), folder / "report.html");
  return read_file(folder / "report.html");
}

TEST(Report, ShowsHostileTextAndNeverRunsIt) {
  TemporaryFolder scratch;
  const size_t scripts = count(report_of(scratch / "tame", fake::plan(1)), "<script");
  Plan plan = fake::plan(std::size(hostile));
  plan.name = "</title><script>alert(1)</script>";
  for (size_t i = 0; i < plan.items.size(); ++i) {
    plan.items[i].parameters["prompt"] = hostile[i];
    plan.items[i].job = hostile[i];
  }
  const std::string html = report_of(scratch / "hostile", plan);
  EXPECT_EQ(count(html, "<script"), scripts);
  EXPECT_EQ(count(html, "alert(1)</"), 0u);
  EXPECT_EQ(html.find("<img src=x"), std::string::npos);
  const Json data = data_of(html);
  EXPECT_EQ(data["name"], plan.name);
  for (size_t i = 0; i < plan.items.size(); ++i)
    EXPECT_EQ(data["items"][i]["parameters"]["prompt"], hostile[i]);
}

TEST(Report, ShowsWhatBecameOfAPrompt) {
  TemporaryFolder scratch;
  Plan plan = fake::plan(3);
  for (size_t i = 0; i < 2; ++i)
    plan.items[i].text_id = std::string(64, 'a' + static_cast<char>(i));
  const fs::path folder = scratch / "run";
  {
    RunFolder run = fake::open(folder, plan);
    TextRecord text;
    text.id = plan.items[0].text_id;
    text.prompt = plan.items[0].parameters["prompt"];
    text.text = "</script>a rich prompt";
    text.note = "equals another variant's text";
    text.seed = 18446744073709551615u;
    run.record_text(text);
    fake::finish(run);
  }
  build_report(folder);
  const Json items = data_of(read_file(folder / "report.html"))["items"];
  EXPECT_EQ(items[0]["enhanced_prompt"], "</script>a rich prompt");
  EXPECT_EQ(items[0]["enhancement"]["note"], "equals another variant's text");
  EXPECT_EQ(items[0]["enhancement"]["seed"], "18446744073709551615");
  EXPECT_FALSE(items[1].contains("enhanced_prompt"));  // not made
  EXPECT_FALSE(items[2].contains("enhancement"));      // none wanted
}

TEST(Report, NeedsNoNetwork) {
  TemporaryFolder scratch;
  const std::string html = report_of(scratch / "run", fake::plan(2));
  for (const auto* word : {"http://", "https://", "//cdn", "@import", "<link", " src=\""})
    EXPECT_EQ(html.find(word), std::string::npos) << word;
}

TEST(Report, WritesWhatItemsShareOnce) {
  TemporaryFolder scratch;
  const Json data = data_of(report_of(scratch / "run", fake::plan(3)));
  EXPECT_EQ(data["common"]["width"], 128);
  EXPECT_FALSE(data["items"][0]["parameters"].contains("width"));
  EXPECT_EQ(data["items"][2]["parameters"]["seed"], 1002);
}

TEST(Report, KeepsSeedsExactThatABrowserWouldRound) {
  TemporaryFolder scratch;
  Plan plan = fake::plan(2);
  plan.items[0].parameters["seed"] = uint64_t{18446744073709551615u};
  const Json data = data_of(report_of(scratch / "run", plan));
  EXPECT_EQ(data["items"][0]["parameters"]["seed"], "18446744073709551615");
}

TEST(Report, SaysWhatIsWrongWithAManifest) {
  TemporaryFolder folder;
  EXPECT_THROW(build_report(folder.path()), EnvironmentError);
  for (const auto* text : {"", "{", "[]", "{}", R"({"name": 1})"}) {
    write_file_durably(folder / "manifest.json", text);
    EXPECT_THROW(build_report(folder.path()), EnvironmentError) << text;
  }
  EXPECT_FALSE(fs::exists(folder / "report.html"));
}

}  // namespace
}  // namespace backlot
