#include "spec/output_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/text.h"

namespace backlot {
namespace {

// Leaves room below the usual 255 for an extension, a suffix and a writer's temporary name.
constexpr size_t max_component = 200;
constexpr std::string_view name_fields[] = {"index", "slug",   "seed",  "id",  "job",
                                            "width", "height", "steps", "name"};
constexpr std::string_view wordy_fields[] = {"slug", "id", "job", "name"};

// Cuts at a character's start.
void shorten(std::string& text, size_t max_bytes) {
  if (text.size() <= max_bytes) return;
  size_t end = max_bytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  text.resize(end);
}

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

// Names that Windows keeps for devices, whatever follows the first dot.
bool is_device_name(std::string_view component) {
  const std::string stem = lower(std::string(component.substr(0, component.find('.'))));
  if (stem == "con" || stem == "prn" || stem == "aux" || stem == "nul") return true;
  return stem.size() == 4 && (stem.starts_with("com") || stem.starts_with("lpt")) &&
         stem[3] >= '0' && stem[3] <= '9';
}

void check_literal(std::string_view name_template, std::string_view shown) {
  for (const char c : name_template)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '\\')
      throw Problem{"holds a backslash or a control character", "use plain letters"};
  if (!is_utf8(name_template)) throw Problem{"is not valid UTF-8", "use plain letters"};
  for (const auto& part : split(shown, '/')) {
    if (part.empty())
      throw Problem{fmt::format("\"{}\" has an empty part", name_template),
                    "give a relative path such as {job}/{index}"};
    if (part.front() == '.')
      throw Problem{fmt::format("\"{}\" has a part that starts with a dot", name_template),
                    "outputs stay in the run folder, visible; start with a letter or a field"};
    if (part.size() > max_component)
      throw Problem{fmt::format("has a part of more than {} bytes", max_component), "shorten it"};
  }
}

}  // namespace

std::string safe_component(std::string_view text, size_t max_bytes) {
  std::string out;
  for (const char c : text) {
    const bool kept = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      ((c == '.' || c == '_') && !out.empty());
    if (kept)
      out += c;
    else if (!out.empty() && out.back() != '-')
      out += '-';
    if (out.size() >= max_bytes) break;
  }
  while (!out.empty() && (out.back() == '-' || out.back() == '.')) out.pop_back();
  return out.empty() ? "untitled" : out;
}

void check_component(std::string_view name) {
  if (name.empty()) throw Problem{"is empty", "give a folder's name"};
  if (name.find_first_of("/\\") != std::string_view::npos)
    throw Problem{fmt::format("is \"{}\", a path", name.substr(0, 80)),
                  "give one folder's name; output.dir says where it goes"};
  check_literal(name, name);
}

OutputNames::OutputNames(std::string_view name_template, std::string run_name,
                         std::string extension)
    : run_name_(safe_component(run_name)), extension_(std::move(extension)) {
  std::string shown;  // the template with fields as letters, to look at its parts
  std::string_view rest = name_template;
  while (!rest.empty()) {
    const size_t brace = std::min(rest.find_first_of("{}"), rest.size());
    if (brace > 0) pieces_.push_back({.literal = std::string(rest.substr(0, brace))});
    shown += rest.substr(0, brace);
    rest.remove_prefix(brace);
    if (rest.empty()) break;
    const size_t end = rest.find('}');
    if (rest.front() == '}' || end == std::string_view::npos)
      throw Problem{fmt::format("\"{}\" has a brace without its partner", name_template),
                    "write fields as {slug}"};
    const std::string_view inside = rest.substr(1, end - 1);
    const std::string_view name = inside.substr(0, inside.find(':'));
    if (!std::ranges::count(name_fields, name)) {
      const std::string near = name == "prompt" ? "slug" : nearest(name, name_fields);
      throw Problem{fmt::format("has the unknown field {{{}}}", name.substr(0, 40)),
                    near.empty() ? fmt::format("there are {}", fmt::join(name_fields, ", "))
                                 : fmt::format("did you mean {{{}}}?", near)};
    }
    int width = 0;
    if (name.size() < inside.size()) {
      const std::string_view format = inside.substr(name.size() + 1);
      const auto [stop, error] =
          std::from_chars(format.data(), format.data() + format.size(), width);
      if (error != std::errc{} || stop != format.data() + format.size() || format.front() != '0' ||
          width < 1 || width > 20 || std::ranges::count(wordy_fields, name))
        throw Problem{fmt::format("has the field {{{}}}", inside.substr(0, 40)),
                      "numbers take a width from :01 to :020, words none"};
    }
    pieces_.push_back({.field = std::string(name), .width = width});
    shown += 'x';
    rest.remove_prefix(end + 1);
  }
  check_literal(name_template, shown);
}

std::string OutputNames::value_of(const Piece& piece, const NameValues& values) const {
  const auto number = [&](auto value) { return fmt::format("{:0{}}", value, piece.width); };
  if (piece.field == "index") return number(values.index);
  if (piece.field == "seed") return number(values.seed);
  if (piece.field == "width") return number(values.width);
  if (piece.field == "height") return number(values.height);
  if (piece.field == "steps") return number(values.steps);
  if (piece.field == "slug") return slug(values.prompt);
  if (piece.field == "id") return values.id.substr(0, 12);
  if (piece.field == "job") return safe_component(values.job);
  return run_name_;
}

std::string OutputNames::next(const NameValues& values) {
  std::string path;
  for (const auto& piece : pieces_)
    path += piece.field.empty() ? piece.literal : value_of(piece, values);
  auto parts = split(path, '/');
  for (auto& part : parts) {
    shorten(part, max_component);
    if (is_device_name(part)) part.insert(0, 1, '_');
  }
  std::string stem = fmt::format("{}", fmt::join(parts, "/"));
  std::string name = stem;
  while (!taken_.try_emplace(lower(name), 1).second)
    name = fmt::format("{}-{}", stem, ++taken_[lower(stem)]);
  return name + extension_;
}

}  // namespace backlot
