#include "bench/report.h"

#include <fmt/format.h>

#include "base/text.h"
#include "bench/charts.h"
#include "bench/kernel_figures.h"
#include "bench/tables.h"

namespace backlot {
namespace {

constexpr std::string_view page =
#include "bench_template.inc"
    ;

constexpr int wide = 1080, narrow = 350;  // pixels

// Twice, of which the page shows the one that fits the window.
std::string both(const std::string& large, const std::string& small) {
  if (large.empty()) return "";
  return "<figure class=\"for-wide\">" + large + "</figure>\n<figure class=\"for-narrow\">" +
         small + "</figure>\n";
}

std::string machine_line(const Json& machine) {
  std::string line = fmt::format("{}, {} processors, {}", machine.value("cpu", "unknown CPU"),
                                 machine.value("processors", 0),
                                 human_bytes(machine.value("memory_bytes", uint64_t{0})));
  for (const auto& gpu : machine.value("gpus", Json::array())) line += ", " + gpu.value("name", "");
  return line;
}

std::string shown(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.is_null() ? "–" : value.dump();
}

std::string facts_section(const char* title, const Json& facts) {
  Table table{.title = title, .head = {"", ""}, .words = 2, .facts = true};
  for (auto fact = facts.begin(); fact != facts.end(); ++fact) {
    const bool bytes = fact.key().ends_with("_bytes") && fact->is_number_unsigned();
    table.rows.push_back({fact.key(), bytes ? human_bytes(fact->get<uint64_t>()) : shown(*fact)});
  }
  return html_table(table);
}

std::string comparison_section(const std::optional<Comparison>& comparison) {
  if (!comparison) return "";
  std::string out = html_table(comparison_table(*comparison));
  for (const auto& fact : comparison->differing_facts)
    out += "<p class=\"notice\">Another machine or setting: " + escape_html(fact) + "</p>\n";
  return out;
}

std::string roofline_section(const BenchResults& results) {
  std::string out;
  for (const auto& each : rooflines(results)) {
    const std::string chart = both(roofline_svg(each.ceiling, each.dots, wide),
                                   roofline_svg(each.ceiling, each.dots, narrow));
    if (!chart.empty())
      out +=
          "<h2>Roofline: " + escape_html(each.title) + "</h2>\n" + chart +
          "<p class=\"small\">A dot is a kernel, its area the share of its network's time. The "
          "line is what the device reached with a large matrix product and a large copy. A dot "
          "above its slope worked from caches. One above its flat part multiplied less than was "
          "counted: FLOP are the direct algorithm's, and Winograd's, for 3x3 convolutions, needs "
          "up to 2.25 times fewer multiplications, 4 times after a doubling of the map. Kernels "
          "that only move data have no place here; the table has them.</p>\n";
  }
  return out;
}

std::string timeline_section(const BenchResults& results) {
  std::string out;
  for (const auto& each : results.timelines) {
    const std::string chart = both(timeline_svg(each, wide), timeline_svg(each, narrow));
    if (!chart.empty()) out += "<h2>Timeline: " + escape_html(each.title) + "</h2>\n" + chart;
  }
  return out;
}

}  // namespace

std::string bench_html(const BenchResults& results, const std::optional<Comparison>& comparison) {
  std::string content;
  if (!results.complete)
    content += "<p class=\"notice\">Interrupted: this is what was measured by then.</p>\n";
  for (const auto& note : results.notes)
    content += "<p class=\"notice\">" + escape_html(note) + "</p>\n";
  content += comparison_section(comparison);
  for (const auto* suite : {"image", "video", "language", "load", "fleet"})
    for (const auto& table : suite_tables(results, suite)) content += html_table(table);
  content += timeline_section(results) + roofline_section(results);
  for (const auto& table : suite_tables(results, "kernels")) content += html_table(table);
  content += facts_section("Machine", results.machine) + facts_section("Options", results.options);

  std::string html(page);
  const auto fill = [&](std::string_view mark, const std::string& text) {
    html.replace(html.find(mark), mark.size(), text);
  };
  fill("@@FACTS@@",
       escape_html(fmt::format("backlot {} · {} · {} · {}", results.machine.value("backlot", ""),
                               machine_line(results.machine), results.started,
                               human_seconds(results.seconds))));
  fill("@@CONTENT@@", content);
  return html;
}

}  // namespace backlot
