#include "spec/rows.h"

#include <fmt/format.h>

#include <optional>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"

namespace backlot {
namespace {

namespace fs = std::filesystem;

// A file's text, read cell by cell or line by line, that knows where it is.
class Reader {
 public:
  Reader(std::string_view text, uint32_t source) : rest_(text), mark_{source, 1, 1} {
    if (rest_.starts_with("\xef\xbb\xbf")) rest_.remove_prefix(3);
  }

  bool done() const { return rest_.empty(); }
  Mark mark() const { return mark_; }
  char front() const { return rest_.front(); }
  bool at_line_end() const {
    return rest_.empty() || rest_.starts_with('\n') || rest_.starts_with("\r\n");
  }

  char take() {
    const char c = rest_.front();
    rest_.remove_prefix(1);
    ++mark_.column;
    if (c == '\n') ++mark_.line, mark_.column = 1;
    return c;
  }
  void end_line() {
    if (!done() && front() == '\r') take();
    if (!done()) take();
  }
  std::string_view line() {
    const size_t length = std::min(rest_.find('\n'), rest_.size());
    std::string_view out = rest_.substr(0, length);
    rest_.remove_prefix(std::min(length + 1, rest_.size()));
    ++mark_.line;
    if (out.ends_with('\r')) out.remove_suffix(1);
    return out;
  }

 private:
  std::string_view rest_;
  Mark mark_;
};

struct Cell {
  std::string text;
  bool quoted;
  Mark mark;
};

Cell read_cell(Reader& in, const Sources& sources) {
  Cell cell{.text = {}, .quoted = false, .mark = in.mark()};
  if (!in.done() && in.front() == '"') {
    cell.quoted = true;
    in.take();
    while (true) {
      if (in.done())
        sources.fail(cell.mark, "a quoted cell is not closed", "end it with a double quote");
      const char c = in.take();
      if (c != '"') {
        cell.text += c;
      } else if (!in.done() && in.front() == '"') {
        cell.text += in.take();
      } else {
        break;
      }
    }
    if (!in.at_line_end() && in.front() != ',')
      sources.fail(in.mark(), "text after a closing quote",
                   "double the quotes inside a quoted cell");
    return cell;
  }
  while (!in.at_line_end() && in.front() != ',') {
    if (in.front() == '"')
      sources.fail(in.mark(), "a double quote inside a cell that is not quoted",
                   "quote the whole cell and double the quotes inside");
    cell.text += in.take();
  }
  return cell;
}

std::vector<Cell> read_record(Reader& in, const Sources& sources) {
  std::vector<Cell> cells;
  while (true) {
    cells.push_back(read_cell(in, sources));
    if (in.at_line_end()) break;
    in.take();  // the comma
  }
  in.end_line();
  return cells;
}

void limit_rows(size_t rows, Mark mark, const Sources& sources) {
  if (rows > max_items)
    sources.fail(mark, fmt::format("more than {} rows", max_items), "split the file");
}

FieldValue checked(const Field& field, Mark mark, const Sources& sources, auto&& read) {
  const std::string prefix = std::string(field.name) + " ";
  return {&field, sources.at(mark, prefix, [&] { return check_field(field, read()); }), mark};
}

std::vector<Row> read_csv(std::string_view text, uint32_t source, const Sources& sources,
                          Task task) {
  Reader in(text, source);
  if (in.done())
    sources.fail({source, 1, 1}, "the table is empty", "give a header that names fields, and rows");
  std::vector<const Field*> columns;
  for (const auto& cell : read_record(in, sources)) {
    const Field& field = known_field(trim(cell.text), cell.mark, sources, task);
    if (std::ranges::count(columns, &field))
      sources.fail(cell.mark, fmt::format("the column {} is given twice", field.name),
                   "remove one of the two");
    columns.push_back(&field);
  }
  std::vector<Row> rows;
  while (!in.done()) {
    Row row{.fields = {}, .mark = in.mark()};
    const auto cells = read_record(in, sources);
    if (cells.size() == 1 && cells[0].text.empty() && !cells[0].quoted) continue;
    if (cells.size() != columns.size())
      sources.fail(row.mark,
                   fmt::format("{} cells, but the header has {}", cells.size(), columns.size()),
                   "quote cells that hold commas");
    for (size_t i = 0; i < cells.size(); ++i) {
      if (cells[i].text.empty() && !cells[i].quoted) continue;
      row.fields.set(checked(*columns[i], cells[i].mark, sources,
                             [&] { return field_from_text(*columns[i], cells[i].text); }));
    }
    rows.push_back(std::move(row));
    limit_rows(rows.size(), rows.back().mark, sources);
  }
  return rows;
}

constexpr size_t max_keys = 1000;  // of one object: looking them up is linear

// Parses a line; refuses repeated keys, which nlohmann would let pass, and needless size.
Json parse_object(std::string_view line, Mark mark, const Sources& sources) {
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > 16) sources.fail(mark, "nested too deep", "a row is an object of plain fields");
    if (!keys.empty() && keys.back().size() > max_keys)
      sources.fail(mark, "too many keys", "a row is an object of plain fields");
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second)
      sources.fail(mark, fmt::format("the key {} is given twice", parsed.get<std::string>()),
                   "remove one of the two");
    return true;
  };
  try {
    Json parsed = Json::parse(line, watch);
    if (parsed.is_object()) return parsed;
  } catch (const Json::parse_error& error) {
    mark.column = static_cast<uint32_t>(error.byte);
    sources.fail(mark, "not valid JSON", "write one object a line");
  } catch (const Json::out_of_range&) {
    sources.fail(mark, "a number is not finite", "give a number of ordinary size");
  }
  sources.fail(mark, "not a JSON object", "write one object a line");
}

std::vector<Row> read_jsonl(std::string_view text, uint32_t source, const Sources& sources,
                            Task task) {
  std::vector<Row> rows;
  for (Reader in(text, source); !in.done();) {
    Row row{.fields = {}, .mark = in.mark()};
    const auto line = in.line();
    if (trim(line).empty()) continue;
    const Json object = parse_object(line, row.mark, sources);
    for (const auto& [key, value] : object.items()) {
      const Field& field = known_field(key, row.mark, sources, task);
      row.fields.set(checked(field, row.mark, sources, [&] { return value; }));
    }
    rows.push_back(std::move(row));
    limit_rows(rows.size(), rows.back().mark, sources);
  }
  return rows;
}

std::vector<Row> read_lines(std::string_view text, uint32_t source, const Sources& sources) {
  std::vector<Row> rows;
  for (Reader in(text, source); !in.done();) {
    Row row{.fields = {}, .mark = in.mark()};
    const auto prompt = trim(in.line());
    if (prompt.empty()) continue;
    row.fields.set(checked(*find_field("prompt"), row.mark, sources,
                           [&] { return Json(std::string(prompt)); }));
    rows.push_back(std::move(row));
    limit_rows(rows.size(), rows.back().mark, sources);
  }
  return rows;
}

}  // namespace

std::vector<Row> read_rows(const fs::path& file, Mark mark, Sources& sources, Task task) {
  std::error_code missing;
  if (fs::file_size(file, missing) > max_rows_bytes && !missing)
    sources.fail(mark,
                 fmt::format("{} is larger than {}", file.string(), human_bytes(max_rows_bytes)),
                 "split it");
  std::string text;
  try {
    text = read_file(file, max_rows_bytes);
  } catch (const EnvironmentError& error) {
    sources.fail(mark, fmt::format("{}: {}", file.string(), error.problem()),
                 "paths are relative to the spec's folder");
  }
  const uint32_t source = sources.add(file.string());
  if (!is_utf8(text)) sources.fail({source, 1, 1}, "not valid UTF-8", "save the file as UTF-8");
  const std::string kind = file.extension().string();
  std::vector<Row> rows;
  if (kind == ".txt")
    rows = read_lines(text, source, sources);
  else if (kind == ".csv")
    rows = read_csv(text, source, sources, task);
  else if (kind == ".jsonl")
    rows = read_jsonl(text, source, sources, task);
  else
    sources.fail(mark, fmt::format("{} is not a .txt, .csv or .jsonl file", file.string()),
                 "rename it to say what it holds");
  if (rows.empty())
    sources.fail({source, 1, 1}, "no rows", "give at least one, or remove prompts_from");
  return rows;
}

const Field& known_field(std::string_view name, Mark mark, const Sources& sources, Task task,
                         std::span<const std::string_view> others) {
  if (const Field* field = find_field(name)) {
    if (field->applies_to(task)) return *field;
    sources.fail(mark, fmt::format("{} has no meaning for this task", name),
                 field->name == "messages" ? "write `task: enhance`, or remove it"
                 : field->applies_to(Task::text_to_video) && !field->applies_to(Task::text_to_image)
                     ? "write `task: text-to-video`, or remove it"
                 : field->applies_to(Task::enhance) && task != Task::enhance
                     ? "move it under `enhance:`"
                     : "remove it");
  }
  if (std::ranges::count(later_job_fields(), name))
    sources.fail(mark, fmt::format("{} is not available in this version", name),
                 "remove it, or use a version of backlot that has it");
  std::vector<std::string_view> known(others.begin(), others.end());
  for (const auto& field : job_fields()) known.push_back(field.name);
  const std::string near = nearest(name, known);
  sources.fail(
      mark, fmt::format("unknown field {}", name.empty() ? "\"\"" : name.substr(0, 80)),
      near.empty() ? "docs/jobspec.md lists the fields" : fmt::format("did you mean {}?", near));
}

}  // namespace backlot
