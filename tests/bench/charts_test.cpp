// Tables, pictures and the page.
#include "bench/charts.h"

#include <gtest/gtest.h>

#include <regex>

#include "bench/kernel_figures.h"
#include "bench/report.h"
#include "bench/tables.h"

namespace backlot {
namespace {

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

BenchResults kernels() {
  BenchResults results{.machine = {{"backlot", "9.9"}, {"cpu", "<Test> CPU"}}};
  results.ceilings = {{"cpu", "float32", 1e11, 1e10}};
  const auto add = [&](const std::string& kernel, double flops, double bytes, int64_t calls,
                       double seconds) {
    BenchCase each{.suite = "kernels",
                   .name = "kernels/net/cpu/auto/8x8/batch-1/" + kernel + " 1x2",
                   .measures = "a call",
                   .parameters = {{"architecture", "net"},
                                  {"setting", "net/cpu/auto/8x8/batch-1"},
                                  {"device", "cpu"},
                                  {"dtype", "float32"},
                                  {"kernel", kernel},
                                  {"shape", "1x2"},
                                  {"calls", calls}},
                   .seconds = {seconds}};
    add_roofline_figures(each, {.flops = flops, .bytes = bytes}, results.ceilings[0]);
    results.cases.push_back(std::move(each));
  };
  add("unet/conv3x3", 1e9, 1e6, 3, 0.02);     // 5e10 FLOP/s: half of the peak
  add("unet/group_norm", 1e6, 1e7, 4, 0.01);  // 1e9 B/s: a tenth of the bandwidth
  add("vae/conv3x3", 1e9, 1e6, 1, 0.04);
  add_shares(results.cases);
  return results;
}

TEST(KernelFigures, TheLowerCeilingBinds) {
  const auto cases = kernels().cases;
  EXPECT_EQ(cases[0].parameters["bound"], "compute");
  EXPECT_NEAR(cases[0].figure("of_ceiling"), 0.5, 1e-12);
  EXPECT_NEAR(cases[0].figure("flops_per_byte"), 1000, 1e-9);
  EXPECT_EQ(cases[1].parameters["bound"], "memory");
  EXPECT_NEAR(cases[1].figure("of_ceiling"), 0.1, 1e-12);
}

TEST(KernelFigures, SharesAreOfEachNetworksTime) {
  const auto cases = kernels().cases;
  EXPECT_NEAR(cases[0].figure("share"), 0.6, 1e-12);
  EXPECT_NEAR(cases[1].figure("share"), 0.4, 1e-12);
  EXPECT_NEAR(cases[2].figure("share"), 1.0, 1e-12);
}

// An algorithm with fewer multiplications than are counted.
TEST(KernelFigures, BeyondTheCeilingIsShownAsItIs) {
  BenchResults results = kernels();
  auto& fast = results.cases[0];
  fast.seconds = {0.005};
  add_roofline_figures(fast, {.flops = 1e9, .bytes = 1e6}, results.ceilings[0]);
  EXPECT_NEAR(fast.figure("of_ceiling"), 2, 1e-12);
  const auto rows = suite_tables(results, "kernels")[0].rows;
  const auto row =
      std::ranges::find(rows, "unet/conv3x3", [](const auto& each) { return each[0]; });
  ASSERT_NE(row, rows.end());
  EXPECT_EQ((*row)[7], "2.00x");
  EXPECT_NE(rooflines(results)[0].dots[0].facts.find("2.00x of what binds it"), std::string::npos);
}

TEST(EngineFilters, KeepAllThatTheWholeNameWouldKeep) {
  const std::string prefix = "kernels/sdxl/cpu/auto/64x64/batch-1/";
  const auto of = [&](std::vector<std::string> filters) { return engine_filters(filters, prefix); };
  EXPECT_TRUE(of({}).empty());
  EXPECT_TRUE(of({"sdxl"}).empty()) << "the prefix itself holds it";
  EXPECT_TRUE(of({"conv", "sdxl"}).empty());
  EXPECT_EQ(of({"conv"}), std::vector<std::string>{"conv"});
  EXPECT_EQ(of({"batch-1/unet/conv"}), std::vector<std::string>{"unet/conv"});
  EXPECT_EQ(of({"/conv"}), std::vector<std::string>{"conv"});
  EXPECT_EQ(of({"unet/conv 1x320"}), std::vector<std::string>{"unet/conv"});
  EXPECT_TRUE(of({" 1x320"}).empty()) << "a shape is no part of the engine's names";
}

TEST(Numbers, HaveThreeDigitsAndTheFittingUnit) {
  EXPECT_EQ(human_seconds(1.2345), "1.23 s");
  EXPECT_EQ(human_seconds(123.4), "123 s");
  EXPECT_EQ(human_seconds(0.04567), "45.7 ms");
  EXPECT_EQ(human_seconds(0.0000012), "1.20 µs");
  EXPECT_EQ(human_rate(1.234e12), "1.23 T");
  EXPECT_EQ(human_rate(45.6e9), "45.6 G");
  EXPECT_EQ(human_share(0.5), "50.0 %");
  EXPECT_EQ(human_share(1), "100.0 %");
  EXPECT_EQ(human_share(1.9), "1.90x");
}

TEST(Tables, ColumnsLineUp) {
  const Table table{.title = "t", .head = {"name", "µ"}, .rows = {{"a", "1"}, {"bcdefg", "22"}}};
  EXPECT_EQ(text_table(table), "t\n  name     µ\n  a        1\n  bcdefg  22");
}

TEST(Tables, ShowWhyACaseFailed) {
  BenchResults results;
  results.cases.push_back(
      {.suite = "image", .name = "image/x", .measures = "a picture", .error = "out of memory"});
  const auto tables = suite_tables(results, "image");
  ASSERT_EQ(tables.size(), 1u);
  EXPECT_NE(text_table(tables[0]).find("x: out of memory"), std::string::npos);
  EXPECT_TRUE(suite_tables(results, "fleet").empty());
}

TEST(Tables, KernelsStandByTheirCostUnderTheirNetworks) {
  const auto tables = suite_tables(kernels(), "kernels");
  ASSERT_EQ(tables.size(), 1u);
  std::vector<std::string> names;
  for (const auto& row : tables[0].rows) names.push_back(row[0]);
  EXPECT_EQ(names,
            (std::vector<std::string>{"unet/conv3x3", "unet/group_norm", "unet, all of these",
                                      "vae/conv3x3", "vae, all of these"}));
  EXPECT_EQ(tables[0].rows[2][3], "100 ms");
}

// Where the only dot of a roofline is drawn.
std::pair<double, double> place_of(double flops_per_byte, double flops_per_second) {
  const std::string svg =
      roofline_svg({"cpu", "float32", 1e11, 1e10},
                   {{"k", "n", flops_per_byte, flops_per_second, 0.5, 1, "facts"}}, 1000);
  static const std::regex dot(
      "<circle cx=\"([0-9.]+)\" cy=\"([0-9.]+)\" r=\"[0-9.]+\" "
      "class=\"dot c0\"><title>facts");
  std::smatch found;
  if (!std::regex_search(svg, found, dot)) return {-1, -1};
  return {std::stod(found[1]), std::stod(found[2])};
}

TEST(Roofline, DotsAtTheCeilingLieOnTheLine) {
  const std::string svg = roofline_svg({"cpu", "float32", 1e11, 1e10}, {}, 1000);
  static const std::regex roof("points=\"([0-9.]+),([0-9.]+) ([0-9.]+),([0-9.]+) ([0-9.]+)");
  std::smatch found;
  ASSERT_TRUE(std::regex_search(svg, found, roof)) << svg;
  const auto [x, y] = place_of(10, 1e11);  // the ridge
  EXPECT_NEAR(x, std::stod(found[3]), 0.2);
  EXPECT_NEAR(y, std::stod(found[4]), 0.2);
  // Less intensity lies further left, less speed further down.
  EXPECT_LT(place_of(2, 1e10).first, place_of(20, 1e10).first);
  EXPECT_GT(place_of(2, 1e10).second, place_of(2, 5e10).second);
}

TEST(Roofline, LabelsDoNotOverlap) {
  std::vector<RooflineDot> dots;
  for (int i = 0; i < 40; ++i)
    dots.push_back(
        {"kernel number " + std::to_string(i), "n", 10 + 0.1 * i, 1e10, 0.02, 1.0 / (i + 1), "f"});
  const std::string svg = roofline_svg({"cpu", "float32", 1e11, 1e10}, dots, 1000);
  EXPECT_EQ(count_of(svg, "<title>f"), 40u) << "every dot is drawn";
  EXPECT_LT(count_of(svg, "class=\"name\""), 6u) << "labels only where there is room";
  EXPECT_GT(count_of(svg, "class=\"name\""), 0u);
}

TEST(Roofline, WithoutCeilingsThereIsNone) {
  EXPECT_EQ(roofline_svg({"cpu", "float32", 0, 0}, {}, 1000), "");
}

TEST(Timeline, HasARowForEachTrackAndABarForEachSpan) {
  const Timeline timeline{.title = "run",
                          .bars = {{"compute", "denoise", "stage", 0, 2},
                                   {"compute", "step 1/1", "step", 0, 2},
                                   {"write", "write", "write", 2, 0.5}}};
  const std::string svg = timeline_svg(timeline, 800);
  EXPECT_EQ(count_of(svg, "<rect"), 3u);
  EXPECT_EQ(count_of(svg, "class=\"name\""), 2u);
  EXPECT_EQ(timeline_svg({.title = "empty"}, 800), "");
}

TEST(Page, HoldsEverythingAndRunsNothing) {
  BenchResults results = kernels();
  results.notes = {"left out: <script>alert(1)</script>"};
  results.complete = false;
  results.timelines = {{.title = "a & b", .bars = {{"compute", "denoise", "stage", 0, 2}}}};
  Comparison comparison{.cases = {{.name = "slow", .verdict = Verdict::slower}},
                        .differing_facts = {"cpu: \"B\", was \"A\""}};
  const std::string html = bench_html(results, comparison);
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_EQ(html.find("@@"), std::string::npos);
  EXPECT_EQ(html.find("http://"), std::string::npos);
  for (const auto* part : {"Roofline", "Timeline: a &amp; b", "&lt;Test&gt; CPU", "SLOWER",
                           "Interrupted", "Winograd", "unet/<wbr>group_norm", "class=\"bad\""})
    EXPECT_NE(html.find(part), std::string::npos) << part;
}

}  // namespace
}  // namespace backlot
