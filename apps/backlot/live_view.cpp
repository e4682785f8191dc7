#include "live_view.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <array>

#include "base/text.h"

namespace backlot {
namespace {

constexpr int gap = 2;          // between columns
constexpr int least_item = 12;  // columns of an item's name that are worth having
constexpr int widest_bar = 30;

enum class Colour { none, dim, red, green, yellow };

// One piece of a line.
struct Cell {
  std::string text;
  Colour colour = Colour::none;
};

std::string painted(const std::string& text, Colour colour, bool allowed) {
  constexpr std::array codes = {"", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m"};
  if (!allowed || colour == Colour::none || text.empty()) return text;
  return codes[static_cast<size_t>(colour)] + text + "\x1b[0m";
}

Cell doing(const WorkerView& worker) {
  switch (worker.state) {
    case WorkerState::starting:
      return {"starting", Colour::yellow};
    case WorkerState::idle:
      return {"waiting", Colour::dim};
    case WorkerState::loading:
      return {"loading", Colour::yellow};
    case WorkerState::ended:
      return {"ended", Colour::red};
    case WorkerState::set_aside:
      return {"set aside", Colour::red};
    case WorkerState::working:
      break;
  }
  std::string text = worker.stage.empty() ? "working" : worker.stage;
  if (worker.steps > 0) text += fmt::format(" {}/{}", worker.step, worker.steps);
  if (worker.batch > 1) text += fmt::format(" ×{}", worker.batch);
  return {text, Colour::green};
}

// Of a GPU what is used of it, of the CPU what the process takes.
std::string memory(const WorkerView& worker) {
  if (worker.device != "cpu" && worker.device_memory_bytes && worker.device_free_bytes)
    return human_bytes(*worker.device_memory_bytes -
                       std::min(*worker.device_free_bytes, *worker.device_memory_bytes));
  return worker.resident_bytes > 0 ? human_bytes(worker.resident_bytes) : "";
}

// A worker's columns in the order in which they stand.
enum Column { name, work, speed, memory_used, temperature, busy, column_count };
// In the order in which they are given up.
constexpr std::array dispensable = {busy, temperature, speed, memory_used};

struct WorkerRow {
  std::array<Cell, column_count> cells;
  std::string last;  // what it has in hand, or why it ended
};

WorkerRow row_of(const LiveWorker& worker) {
  const WorkerView& view = worker.view;
  WorkerRow row;
  row.cells[name] = {view.name};
  row.cells[work] = doing(view);
  row.cells[speed] = {rate(view.done, worker.seconds)};
  row.cells[memory_used] = {memory(view)};
  if (view.temperature_c) row.cells[temperature] = {fmt::format("{:.0f}°C", *view.temperature_c)};
  if (view.utilisation) row.cells[busy] = {fmt::format("{:.0f}%", *view.utilisation * 100)};
  const bool gone = view.state == WorkerState::ended || view.state == WorkerState::set_aside;
  row.last = printable(gone ? view.reason : worker.item);
  return row;
}

// The width of each column; 0 for those that are left out.
std::array<int, column_count> widths_of(const std::vector<WorkerRow>& rows, int columns) {
  std::array<int, column_count> widths{};
  for (const auto& row : rows)
    for (size_t i = 0; i < column_count; ++i)
      widths[i] = std::max(widths[i], display_width(row.cells[i].text));
  const auto all = [&] {
    int sum = 0;
    for (const int width : widths) sum += width > 0 ? width + gap : 0;
    return sum;
  };
  for (const Column column : dispensable)
    if (all() + least_item > columns) widths[column] = 0;
  return widths;
}

LiveLine line_of(const WorkerRow& row, const std::array<int, column_count>& widths, int columns,
                 bool colour) {
  LiveLine line;
  for (size_t i = 0; i < column_count; ++i) {
    if (widths[i] == 0) continue;
    const int room = std::min(widths[i], columns - line.columns);
    if (room <= 0) break;
    const std::string text = clipped(row.cells[i].text, room);
    const int padding = std::min(widths[i] - display_width(text) + gap,
                                 columns - line.columns - display_width(text));
    line.text += painted(text, row.cells[i].colour, colour) + std::string(padding, ' ');
    line.columns += display_width(text) + padding;
  }
  const std::string last = clipped(row.last, columns - line.columns);
  line.text += last;
  line.columns += display_width(last);
  return line;
}

std::string bar(int64_t made, int64_t items, int width) {
  const auto full = items > 0 ? static_cast<int>(width * made / items) : width;
  std::string text;
  for (int i = 0; i < width; ++i) text += i < full ? "█" : "░";
  return text;
}

// The pieces behind the bar, the one that matters least last.
std::vector<Cell> figures(const LiveState& state) {
  const RunCounts& counts = state.counts;
  std::vector<Cell> cells;
  cells.push_back({counts.items ? fmt::format("{}/{}", counts.made(), *counts.items)
                                : fmt::format("{} done", counts.made())});
  if (counts.failed > 0) cells.push_back({fmt::format("{} failed", counts.failed), Colour::red});
  if (const auto left = counts.seconds_left())
    cells.push_back({fmt::format("{} to go", duration(*left))});
  if (const int64_t left = counts.items ? *counts.items - counts.made() : counts.waiting; left > 0)
    cells.push_back({fmt::format("{} left", left)});
  if (auto speed = rate(counts.done + counts.failed, state.seconds); !speed.empty())
    cells.push_back({std::move(speed)});
  return cells;
}

LiveLine overall(const LiveState& state, int columns, bool colour) {
  LiveLine line;
  const std::string run = clipped(printable(state.counts.name), std::min(24, columns));
  line.text = run;
  line.columns = display_width(run);
  const auto cells = figures(state);
  size_t shown = 0;
  int needed = line.columns;
  for (; shown < cells.size(); ++shown) {
    const int more = gap + display_width(cells[shown].text);
    if (needed + more > columns) break;
    needed += more;
  }
  const int room = std::min(widest_bar, columns - needed - gap);
  if (state.counts.items && room >= 5) {
    line.text += std::string(gap, ' ') + bar(state.counts.made(), *state.counts.items, room);
    line.columns += gap + room;
  }
  for (size_t i = 0; i < shown; ++i) {
    line.text += std::string(gap, ' ') + painted(cells[i].text, cells[i].colour, colour);
    line.columns += gap + display_width(cells[i].text);
  }
  return line;
}

// A character's columns; its bytes are taken off `text`.
int take_character(std::string_view& text) {
  utf8proc_int32_t codepoint = -1;
  const auto length = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                       static_cast<utf8proc_ssize_t>(text.size()), &codepoint);
  text.remove_prefix(length > 0 ? static_cast<size_t>(length) : 1);
  return length > 0 ? utf8proc_charwidth(codepoint) : 1;
}

}  // namespace

int display_width(std::string_view text) {
  int width = 0;
  while (!text.empty()) width += take_character(text);
  return width;
}

std::string clipped(std::string_view text, int width) {
  if (display_width(text) <= width) return std::string(text);
  if (width <= 0) return "";
  std::string_view rest = text;
  size_t kept = 0;
  for (int used = 0; !rest.empty();) {
    used += take_character(rest);
    if (used > width - 1) break;
    kept = text.size() - rest.size();
  }
  std::string shown(text.substr(0, kept));
  return shown.append("…");
}

std::vector<LiveLine> live_lines(const LiveState& state, TerminalSize size, bool colour) {
  // The last column stays free: terminals differ in what they do behind it.
  const int columns = std::max(1, size.columns - 1);
  const auto most = static_cast<size_t>(std::max(1, size.rows - 2));
  std::vector<WorkerRow> rows;
  for (const auto& worker : state.workers) rows.push_back(row_of(worker));
  size_t hidden = 0;
  if (rows.size() + 1 > most) {
    hidden = rows.size() - std::min(rows.size(), most > 2 ? most - 2 : 0);
    rows.resize(rows.size() - hidden);
  }
  const auto widths = widths_of(rows, columns);
  std::vector<LiveLine> lines;
  for (const auto& row : rows) lines.push_back(line_of(row, widths, columns, colour));
  if (hidden > 0 && most > 2) {
    const std::string text = clipped(fmt::format("and {} more", hidden), columns);
    lines.push_back({text, display_width(text)});
  }
  lines.push_back(overall(state, columns, colour));
  return lines;
}

}  // namespace backlot
