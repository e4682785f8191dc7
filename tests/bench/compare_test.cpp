#include "bench/compare.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace backlot {
namespace {

BenchResults results_with(std::vector<std::pair<std::string, std::vector<double>>> cases) {
  BenchResults results{.machine = {{"cpu", "A"}, {"memory_bytes", 1000}}};
  for (auto& [name, seconds] : cases)
    results.cases.push_back(
        {.suite = "image", .name = name, .measures = "a picture", .seconds = std::move(seconds)});
  return results;
}

const auto always = [](const BenchCase&) { return true; };

Verdict verdict_of(std::vector<double> before, std::vector<double> now, double threshold = 0.1) {
  return compare(results_with({{"a", std::move(before)}}), results_with({{"a", std::move(now)}}),
                 threshold, always)
      .cases.at(0)
      .verdict;
}

TEST(Compare, ThresholdDecidesBetweenQuietRuns) {
  EXPECT_EQ(verdict_of({1.0, 1.0, 1.01}, {1.08, 1.09, 1.09}), Verdict::same);
  EXPECT_EQ(verdict_of({1.0, 1.0, 1.01}, {1.15, 1.16, 1.15}), Verdict::slower);
  EXPECT_EQ(verdict_of({1.0, 1.0, 1.01}, {1.08, 1.09, 1.09}, 0.05), Verdict::slower);
  EXPECT_EQ(verdict_of({1.0, 1.0, 1.01}, {0.7, 0.71, 0.7}), Verdict::faster);
}

TEST(Compare, NoiseIsNoRegression) {
  // Medians differ by a fifth, but each run's values lie a fifth apart themselves.
  EXPECT_EQ(verdict_of({0.8, 1.0, 1.2, 0.9, 1.1}, {1.0, 1.2, 1.4, 1.1, 1.3}), Verdict::noisy);
  // A single disturbed repeat does not excuse a plain regression.
  EXPECT_EQ(verdict_of({1.0, 1.0, 1.0, 1.0, 5.0}, {1.3, 1.3, 1.3, 1.3, 1.3}), Verdict::slower);
}

TEST(Compare, OneRepeatHasNoSpreadSoTheThresholdAloneCounts) {
  EXPECT_EQ(verdict_of({1.0}, {1.2}), Verdict::slower);
  EXPECT_EQ(verdict_of({1.0}, {1.05}), Verdict::same);
}

TEST(Compare, NamesWhatEitherSideLacks) {
  const auto before = results_with({{"both", {1}}, {"old", {1}}, {"unasked", {1}}});
  const auto now = results_with({{"both", {1}}, {"fresh", {1}}, {"failed", {}}});
  const Comparison out =
      compare(before, now, 0.1, [](const BenchCase& each) { return each.name != "unasked"; });
  ASSERT_EQ(out.cases.size(), 3u);
  EXPECT_EQ(out.cases[0].verdict, Verdict::same);
  EXPECT_EQ(out.cases[1].name, "fresh");
  EXPECT_EQ(out.cases[1].verdict, Verdict::added);
  EXPECT_EQ(out.cases[2].name, "old");
  EXPECT_EQ(out.cases[2].verdict, Verdict::gone);
  EXPECT_FALSE(out.regressed());
}

TEST(Compare, ACaseThatFailsNowIsGone) {
  const auto out = compare(results_with({{"a", {1}}}), results_with({{"a", {}}}), 0.1, always);
  ASSERT_EQ(out.cases.size(), 1u);
  EXPECT_EQ(out.cases[0].verdict, Verdict::gone);
}

TEST(Compare, SaysWhenTheMachinesDiffer) {
  auto before = results_with({}), now = results_with({});
  now.machine["memory_bytes"] = 1010;  // the kernel's share varies by that much
  EXPECT_TRUE(compare(before, now, 0.1, always).differing_facts.empty());
  now.machine["cpu"] = "B";
  now.machine["memory_bytes"] = 2000;
  const auto facts = compare(before, now, 0.1, always).differing_facts;
  ASSERT_EQ(facts.size(), 2u);
  EXPECT_EQ(facts[0], "cpu: \"B\", was \"A\"");
}

TEST(Results, ComeBackFromJsonAsTheyWere) {
  BenchResults results = results_with({{"a", {1.5, 2.5}}});
  results.cases[0].stages = {{"denoise", {1, 2}}};
  results.cases[0].figures["pictures_per_second"] = 0.5;
  results.ceilings = {{"cpu", "float32", 2e11, 3e10}};
  results.timelines = {{.title = "t", .bars = {{"track", "denoise", "stage", 0.5, 1.5}}}};
  results.notes = {"a note"};
  const Json json = to_json(results);
  EXPECT_EQ(json["cases"][0]["median"], 2.0);
  EXPECT_EQ(to_json(bench_results(json, "x.json")), json);
}

TEST(Results, RefuseWhatIsNoBenchmark) {
  for (const auto* text : {"[]", "{}", "7", R"({"backlot_bench": 99})", R"({"backlot_bench": 1})",
                           R"({"backlot_bench": "1", "cases": []})"})
    EXPECT_THROW(bench_results(Json::parse(text), "x.json"), UsageError) << text;
  Json damaged = to_json(results_with({{"a", {1.5}}}));
  damaged["cases"][0]["seconds"] = "long";
  EXPECT_THROW(bench_results(damaged, "x.json"), UsageError);
}

}  // namespace
}  // namespace backlot
