#include "bench/tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "base/utf8.h"

namespace backlot {
namespace {

std::string three_digits(double value) {
  if (value == 0) return "0";
  const int whole = static_cast<int>(std::floor(std::log10(std::abs(value)))) + 1;
  return fmt::format("{:.{}f}", value, std::clamp(3 - whole, 0, 2));
}

// "0.123 s (0.120–0.140)": the unit that fits the median.
std::string spread(const Summary& summary) {
  if (summary.count < 2) return "";
  return human_seconds(summary.least) + "–" + human_seconds(summary.most);
}

std::string seconds_cell(double seconds) { return seconds > 0 ? human_seconds(seconds) : "–"; }

std::string percent(double share) { return fmt::format("{:.1f} %", 100 * share); }

// Without the parts that the table's title says.
std::string short_name(const BenchCase& each) {
  const size_t slash = each.name.find('/');
  return slash == std::string::npos ? each.name : each.name.substr(slash + 1);
}

std::vector<std::string> failed_row(const std::string& name, const BenchCase& each,
                                    size_t columns) {
  std::vector<std::string> row(columns);
  row[0] = name + ": " + each.error;
  return row;
}

Table image_table(const std::vector<const BenchCase*>& cases) {
  Table table{.title = "image: pipelines in this process",
              .head = {"case", "dtype", "a picture", "least–most", "pictures/s", "text_encode",
                       "denoise", "decode", "a step"},
              .words = 2};
  for (const auto* each : cases) {
    if (!each->error.empty()) {
      table.rows.push_back(failed_row(short_name(*each), *each, table.head.size()));
      continue;
    }
    const Summary summary = each->summary();
    table.rows.push_back(
        {short_name(*each), each->parameters.value("dtype", ""), human_seconds(summary.median),
         spread(summary), three_digits(1 / summary.median),
         seconds_cell(each->stage_median("text_encode")),
         seconds_cell(each->stage_median("denoise")), seconds_cell(each->stage_median("decode")),
         seconds_cell(each->stage_median("step"))});
  }
  return table;
}

Table video_table(const std::vector<const BenchCase*>& cases) {
  Table table{.title = "video: pipelines in this process",
              .head = {"case", "dtype", "a clip", "least–most", "frames/s", "text_encode",
                       "denoise", "decode", "a step", "peak memory"},
              .words = 2};
  for (const auto* each : cases) {
    if (!each->error.empty()) {
      table.rows.push_back(failed_row(short_name(*each), *each, table.head.size()));
      continue;
    }
    const Summary summary = each->summary();
    const double peak = each->figure("peak_bytes");
    table.rows.push_back(
        {short_name(*each), each->parameters.value("dtype", ""), human_seconds(summary.median),
         spread(summary), three_digits(each->figure("frames_per_second")),
         seconds_cell(each->stage_median("text_encode")),
         seconds_cell(each->stage_median("denoise")), seconds_cell(each->stage_median("decode")),
         seconds_cell(each->stage_median("step")),
         peak > 0 ? human_bytes(static_cast<uint64_t>(peak)) : "–"});
  }
  return table;
}

Table language_table(const std::vector<const BenchCase*>& cases) {
  Table table{.title = "language: a model's passes in this process",
              .head = {"case", "dtype", "a token", "least–most", "tokens/s", "weights", "GB/s"},
              .words = 2};
  for (const auto* each : cases) {
    if (!each->error.empty()) {
      table.rows.push_back(failed_row(short_name(*each), *each, table.head.size()));
      continue;
    }
    const Summary summary = each->summary();
    const double rate = each->figure("weight_bytes_per_second");
    table.rows.push_back({short_name(*each), each->parameters.value("dtype", ""),
                          human_seconds(summary.median), spread(summary),
                          three_digits(each->figure("tokens_per_second")),
                          human_bytes(each->parameters.value("weight_bytes", uint64_t{0})),
                          rate > 0 ? three_digits(rate / 1e9) : "–"});
  }
  return table;
}

Table load_table(const std::vector<const BenchCase*>& cases) {
  Table table{.title = "load: from a cold start",
              .head = {"case", "median", "least–most", "GB/s", "start", "load", "picture"}};
  for (const auto* each : cases) {
    if (!each->error.empty()) {
      table.rows.push_back(failed_row(short_name(*each), *each, table.head.size()));
      continue;
    }
    const Summary summary = each->summary();
    const double rate = each->figure("bytes_per_second");
    table.rows.push_back(
        {short_name(*each), human_seconds(summary.median), spread(summary),
         rate > 0 ? three_digits(rate / 1e9) : "–", seconds_cell(each->stage_median("start")),
         seconds_cell(each->stage_median("load")), seconds_cell(each->stage_median("picture"))});
  }
  return table;
}

Table fleet_table(const std::vector<const BenchCase*>& cases) {
  Table table{
      .title = "fleet: worker processes side by side",
      .head = {"case", "an item", "least–most", "items/s", "speed-up", "efficiency", "start-up"}};
  for (const auto* each : cases) {
    if (!each->error.empty()) {
      table.rows.push_back(failed_row(short_name(*each), *each, table.head.size()));
      continue;
    }
    const Summary summary = each->summary();
    const double speed_up = each->figure("speed_up");
    table.rows.push_back({short_name(*each), human_seconds(summary.median), spread(summary),
                          three_digits(1 / summary.median),
                          speed_up > 0 ? three_digits(speed_up) : "–",
                          speed_up > 0 ? percent(each->figure("efficiency")) : "–",
                          seconds_cell(each->stage_median("start"))});
  }
  return table;
}

std::vector<std::string> kernel_row(const BenchCase& each) {
  const auto& p = each.parameters;
  const Summary summary = each.summary();
  const auto rate = [&](const char* key, double unit) {
    return each.figure(key) > 0 ? three_digits(each.figure(key) / unit) : "–";
  };
  return {p.value("kernel", ""),
          p.value("shape", ""),
          std::to_string(p.value("calls", int64_t{0})),
          human_seconds(summary.median),
          spread(summary),
          rate("flops_per_second", 1e12),
          rate("bytes_per_second", 1e9),
          each.figure("of_ceiling") > 0 ? human_share(each.figure("of_ceiling")) : "–",
          p.value("bound", ""),
          percent(each.figure("share"))};
}

std::string network_of(const BenchCase& each) {
  const std::string kernel = each.parameters.value("kernel", "");
  return kernel.substr(0, kernel.find('/'));
}

std::string kernel_title(const BenchResults& results, const BenchCase& each) {
  const auto& p = each.parameters;
  std::string title =
      fmt::format("kernels of {}, {}", p.value("setting", ""), p.value("dtype", ""));
  for (const auto& ceiling : results.ceilings)
    if (ceiling.device == p.value("device", "") && ceiling.dtype == p.value("dtype", ""))
      title += fmt::format("; ceilings: {} TFLOP/s, {} GB/s",
                           three_digits(ceiling.flops_per_second / 1e12),
                           three_digits(ceiling.bytes_per_second / 1e9));
  return title;
}

// A network's kernels, the costliest first, and their sum.
void add_network(Table& table, std::vector<const BenchCase*> cases) {
  std::ranges::stable_sort(cases, std::greater{},
                           [](const BenchCase* each) { return each->figure("share"); });
  double seconds = 0;
  for (const auto* each : cases) {
    table.rows.push_back(kernel_row(*each));
    seconds += each->parameters.value("calls", 0.0) * each->summary().median;
  }
  std::vector<std::string> sum(table.head.size());
  sum[0] = network_of(*cases.front()) + ", all of these";
  sum[3] = human_seconds(seconds);
  sum.back() = percent(1);
  table.rows.push_back(std::move(sum));
}

std::vector<Table> kernel_tables(const BenchResults& results,
                                 const std::vector<const BenchCase*>& cases) {
  std::vector<Table> tables;
  // In the order in which they were measured: networks of settings.
  std::vector<std::vector<const BenchCase*>> networks;
  for (const auto* each : cases) {
    const bool same =
        !networks.empty() &&
        networks.back().front()->parameters["setting"] == each->parameters["setting"] &&
        network_of(*networks.back().front()) == network_of(*each);
    if (!same) networks.emplace_back();
    networks.back().push_back(each);
  }
  for (const auto& network : networks) {
    const std::string title = kernel_title(results, *network.front());
    if (tables.empty() || tables.back().title != title)
      tables.push_back({.title = title,
                        .head = {"kernel", "shape", "calls", "a call", "least–most", "TFLOP/s",
                                 "GB/s", "of ceiling", "bound by", "share"},
                        .words = 2});
    add_network(tables.back(), network);
  }
  return tables;
}

// Names may be broken after their slashes.
std::string breakable(const std::string& html) {
  std::string out;
  for (const char c : html) {
    out += c;
    if (c == '/') out += "<wbr>";
  }
  return out;
}

size_t width_of(std::string_view cell) { return decode_utf8(cell).size(); }

}  // namespace

std::string human_seconds(double seconds) {
  if (seconds >= 0.9995) return three_digits(seconds) + " s";
  if (seconds >= 0.9995e-3) return three_digits(seconds * 1e3) + " ms";
  return three_digits(seconds * 1e6) + " µs";
}

std::string human_rate(double per_second) {
  for (const auto& [unit, name] : {std::pair{1e15, "P"}, {1e12, "T"}, {1e9, "G"}, {1e6, "M"}})
    if (per_second >= unit) return three_digits(per_second / unit) + " " + name;
  return three_digits(per_second / 1e3) + " k";
}

std::string human_share(double of_ceiling) {
  return of_ceiling > 1 ? three_digits(of_ceiling) + "x" : percent(of_ceiling);
}

std::vector<Table> suite_tables(const BenchResults& results, const std::string& suite) {
  std::vector<const BenchCase*> cases;
  for (const auto& each : results.cases)
    if (each.suite == suite) cases.push_back(&each);
  if (cases.empty()) return {};
  if (suite == "image") return {image_table(cases)};
  if (suite == "video") return {video_table(cases)};
  if (suite == "language") return {language_table(cases)};
  if (suite == "load") return {load_table(cases)};
  if (suite == "fleet") return {fleet_table(cases)};
  return kernel_tables(results, cases);
}

Table comparison_table(const Comparison& comparison) {
  Table table{
      .title = fmt::format("against the baseline, threshold {:g} %", 100 * comparison.threshold),
      .head = {"case", "before", "now", "change", "verdict"}};
  for (const auto& each : comparison.cases)
    table.rows.push_back(
        {each.name, seconds_cell(each.before.median), seconds_cell(each.now.median),
         each.before.count && each.now.count ? fmt::format("{:+.1f} %", 100 * each.change()) : "–",
         std::string(verdict_name(each.verdict))});
  return table;
}

std::string text_table(const Table& table) {
  std::vector<size_t> widths(table.head.size(), 0);
  // A failed case's only cell holds a sentence, which must not widen its column.
  const auto widen = [&](const std::vector<std::string>& row) {
    if (row.size() > 1 && row[1].empty() && row.back().empty()) return;
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  };
  widen(table.head);
  for (const auto& row : table.rows) widen(row);
  std::string out = table.title + "\n";
  const auto add = [&](const std::vector<std::string>& row) {
    std::string line = "  ";
    for (size_t i = 0; i < row.size(); ++i) {
      const size_t width = width_of(row[i]);
      const std::string pad(widths[i] > width ? widths[i] - width : 0, ' ');
      line += i < table.words ? row[i] + pad : pad + row[i];
      line += "  ";
    }
    out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  };
  add(table.head);
  for (const auto& row : table.rows) add(row);
  out.pop_back();
  return out;
}

std::string html_table(const Table& table) {
  std::string out = fmt::format(
      "<h2>{}</h2>\n<div class=\"wide\" tabindex=\"0\" role=\"region\" "
      "aria-label=\"{}\"><table{}>\n"
      "<thead><tr>",
      escape_html(table.title), escape_html(table.title),
      table.facts ? " class=\"facts-table\"" : "");
  const auto cell = [&](size_t column, const char* tag, const std::string& text) {
    out += fmt::format("<{}{}>{}</{}>", tag, column < table.words ? "" : " class=\"number\"",
                       column == 0 ? breakable(escape_html(text)) : escape_html(text), tag);
  };
  for (size_t i = 0; i < table.head.size(); ++i) cell(i, "th", table.head[i]);
  out += "</tr></thead>\n<tbody>\n";
  for (const auto& row : table.rows) {
    const bool bad = row.back() == verdict_name(Verdict::slower);
    out += bad ? "<tr class=\"bad\">" : "<tr>";
    for (size_t i = 0; i < row.size(); ++i) cell(i, "td", row[i]);
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

}  // namespace backlot
