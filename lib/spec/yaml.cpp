#include "spec/yaml.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <charconv>
#include <istream>
#include <map>
#include <optional>
#include <streambuf>
#include <unordered_set>

#include "base/error.h"
#include "base/text.h"

namespace backlot {
namespace {

constexpr std::string_view text_tag = "tag:yaml.org,2002:str";

// Reads from memory that it does not copy.
class MemoryBuffer : public std::streambuf {
 public:
  explicit MemoryBuffer(std::string_view text) {
    char* begin = const_cast<char*>(text.data());
    setg(begin, begin, begin + text.size());
  }
};

// A mapping or list that is still being read.
struct Open {
  bool is_map;
  Mark mark;
  YAML::anchor_t anchor;
  Value::List items;
  Value::Map entries;
  bool has_key = false, merge = false;
  std::string key;
  Mark key_mark;
  std::vector<Value> merged;
};

class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(const Sources& sources, uint32_t source) : sources_(sources), source_(source) {}

  std::optional<Value> root;

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (root)
      sources_.fail(at(mark), "the spec goes on after its first document",
                    "a file holds one YAML document; split it, or remove what follows");
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (wants_key()) fail_key(at(mark));
    spend(at(mark), 1);
    deliver(Value(at(mark), Json(nullptr)), anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (wants_key()) fail_key(at(mark));
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end())
      sources_.fail(at(mark), "this alias stands inside the value that it names",
                    "write the value out");
    spend(at(mark), found->second.nodes());
    deliver(found->second, 0);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& text) override {
    const bool plain = tag == "?";
    check_tag(at(mark), tag, text_tag);
    if (wants_key()) return take_key(at(mark), text, plain);
    spend(at(mark), 1);
    Json value = text;
    if (plain) value = sources_.at(at(mark), "", [&] { return plain_scalar(text); });
    deliver(Value(at(mark), std::move(value)), anchor);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(false, at(mark), tag, anchor);
  }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(true, at(mark), tag, anchor);
  }

  void OnSequenceEnd() override {
    Open done = std::move(open_.back());
    open_.pop_back();
    deliver(Value(done.mark, std::move(done.items)), done.anchor);
  }

  void OnMapEnd() override {
    Open done = std::move(open_.back());
    open_.pop_back();
    check_distinct(done.entries);
    for (const auto& map : done.merged) merge(done, map);
    deliver(Value(done.mark, std::move(done.entries)), done.anchor);
  }

 private:
  Mark at(const YAML::Mark& mark) const {
    return {source_, static_cast<uint32_t>(mark.line + 1), static_cast<uint32_t>(mark.column + 1)};
  }

  bool wants_key() const { return !open_.empty() && open_.back().is_map && !open_.back().has_key; }

  [[noreturn]] void fail_key(Mark mark) const {
    sources_.fail(mark, "a key is missing or is not plain text",
                  "write `key: value`, and close every bracket");
  }

  void check_tag(Mark mark, const std::string& tag, std::string_view allowed) const {
    if (tag.empty() || tag == "?" || tag == "!" || tag == allowed) return;
    sources_.fail(mark, fmt::format("the tag {} is not supported", tag.substr(0, 80)),
                  "remove it; values are plain data");
  }

  void spend(Mark mark, uint64_t nodes) {
    if (nodes > max_spec_nodes - spent_)
      sources_.fail(mark,
                    fmt::format("the spec has more than {} values, counting what aliases repeat",
                                max_spec_nodes),
                    "use fewer aliases, or put long lists into a file and name it in prompts_from");
    spent_ += nodes;
  }

  void open(bool is_map, Mark mark, const std::string& tag, YAML::anchor_t anchor) {
    check_tag(mark, tag, is_map ? "tag:yaml.org,2002:map" : "tag:yaml.org,2002:seq");
    if (wants_key()) fail_key(mark);
    spend(mark, 1);
    if (open_.size() >= max_spec_depth)
      sources_.fail(mark, fmt::format("nested more than {} levels deep", max_spec_depth),
                    "a spec needs about five; look for a bracket or an indent too many");
    open_.push_back({.is_map = is_map, .mark = mark, .anchor = anchor});
  }

  void take_key(Mark mark, const std::string& text, bool plain) {
    Open& map = open_.back();
    map.has_key = true;
    map.merge = plain && text == "<<";
    map.key = text;
    map.key_mark = mark;
  }

  void deliver(Value value, YAML::anchor_t anchor) {
    if (anchor) anchors_.insert_or_assign(anchor, value);
    if (open_.empty()) {
      root = std::move(value);
      return;
    }
    Open& parent = open_.back();
    if (!parent.is_map) {
      parent.items.push_back(std::move(value));
      return;
    }
    parent.has_key = false;
    if (!parent.merge) {
      parent.entries.push_back({std::move(parent.key), parent.key_mark, std::move(value)});
      return;
    }
    if (value.is_map()) {
      parent.merged.push_back(std::move(value));
    } else if (value.is_list() && std::ranges::all_of(value.items(), &Value::is_map)) {
      for (const auto& map : value.items()) parent.merged.push_back(map);
    } else {
      sources_.fail(parent.key_mark, "`<<` needs a mapping or a list of mappings",
                    "write `<<: *name`, or quote the key");
    }
  }

  void check_distinct(const Value::Map& entries) const {
    std::unordered_set<std::string_view> seen;
    for (const auto& entry : entries)
      if (!seen.insert(entry.key).second)
        sources_.fail(entry.mark, fmt::format("the key {} is given twice", entry.key.substr(0, 80)),
                      "remove one of the two");
  }

  // Adds what `map` has and `into` lacks: a key of the mapping itself wins, then the earlier merge.
  void merge(Open& into, const Value& map) {
    std::unordered_set<std::string> seen;
    for (const auto& entry : into.entries) seen.insert(entry.key);
    for (const auto& entry : map.entries())
      if (seen.insert(entry.key).second) {
        spend(into.mark, entry.value.nodes());
        into.entries.push_back(entry);
      }
  }

  const Sources& sources_;
  uint32_t source_;
  uint64_t spent_ = 0;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, Value> anchors_;
};

// YAML allows no control characters but tab and line ends; yaml-cpp takes U+0004 for the end of the
// file, and a NUL would end strings early further down.
void check_characters(std::string_view text, const Sources& sources, uint32_t source) {
  Mark mark{source, 1, 1};
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 && c != '\t' && c != '\n' && c != '\r')
      sources.fail(mark, fmt::format("the control character \\x{:02x} is not allowed", byte),
                   "a spec is text; remove it, or save the file as UTF-8");
    ++mark.column;
    if (c == '\n') ++mark.line, mark.column = 1;
  }
  if (!is_utf8(text)) sources.fail({source, 1, 1}, "not valid UTF-8", "save the file as UTF-8");
}

// JSON writes characters beyond U+FFFF as two surrogates, \ud83c\udf4e, where YAML has
// \U0001f34e; yaml-cpp knows only the latter.
std::string join_surrogates(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  const auto escape = [&](size_t at) -> unsigned {  // the value of \uXXXX there, 0 if there is none
    unsigned value = 0;
    if (at + 6 > text.size() || text[at] != '\\' || text[at + 1] != 'u') return 0;
    const char* first = text.data() + at + 2;
    const auto [end, error] = std::from_chars(first, first + 4, value, 16);
    return error == std::errc{} && end == first + 4 ? value : 0;
  };
  for (size_t i = 0; i < text.size();) {
    const unsigned high = escape(i), low = high >> 10 == 0x36 ? escape(i + 6) : 0;
    if (low >> 10 == 0x37) {
      out += fmt::format("\\U{:08x}", 0x10000 + ((high & 0x3ff) << 10) + (low & 0x3ff));
      i += 12;
    } else if (text[i] == '\\' && i + 1 < text.size()) {
      out += text.substr(i, 2);
      i += 2;
    } else {
      out += text[i++];
    }
  }
  return out;
}

// The parser's words name its grammar; most slips are one of three, seen in the line or before it.
std::string syntax_mend(std::string_view text, uint32_t line_number) {
  uint32_t number = 1;
  for (const auto& line : split(text, '\n')) {
    if (number > line_number) break;
    const bool near = number + 1 >= line_number;
    const std::string_view words = trim(line);
    if (near && line.find('\t') < line.find_first_not_of(" \t"))
      return "indent with spaces: YAML takes no tabs there";
    const size_t colon = words.find(": ");
    if (near && colon != std::string_view::npos) {
      const std::string_view value = trim(words.substr(colon + 2));
      const bool quoted = value.starts_with('"') || value.starts_with('\'');
      const bool later_colon = value.find(": ") != std::string_view::npos;
      if (!quoted && !value.starts_with('[') && (value.starts_with('{') || later_colon))
        return "put text that holds ':' or starts with '{' into quotes, or mend the syntax here";
    }
    ++number;
  }
  return "mend the syntax here or just before";
}

}  // namespace

Value read_yaml(std::string_view text, const Sources& sources, uint32_t source) {
  if (text.size() > max_spec_bytes)
    sources.fail({source}, fmt::format("larger than {}", human_bytes(max_spec_bytes)),
                 "put long lists into a file and name it in prompts_from");
  check_characters(text, sources, source);
  TreeBuilder builder(sources, source);
  std::string joined;
  if (text.find("\\ud") != std::string_view::npos || text.find("\\uD") != std::string_view::npos)
    text = joined = join_surrogates(text);
  try {
    MemoryBuffer buffer(text);
    std::istream stream(&buffer);
    YAML::Parser parser(stream);
    // Asked for a second document the builder fails, so that input of which yaml-cpp makes endless
    // empty documents (a lone comma) ends here too.
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& error) {
    Mark mark{source};
    if (!error.mark.is_null())
      mark = {source, static_cast<uint32_t>(error.mark.line + 1),
              static_cast<uint32_t>(error.mark.column + 1)};
    sources.fail(mark, "not valid YAML: " + error.msg, syntax_mend(text, mark.line));
  }
  if (!builder.root)
    sources.fail({source, 1, 1}, "the file is empty", "docs/jobspec.md shows the smallest spec");
  return *builder.root;
}

}  // namespace backlot
