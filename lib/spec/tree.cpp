#include "spec/tree.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace backlot {
namespace {

constexpr uint64_t max_json_nodes = 1000;

template <class Range, class Get>
uint64_t count_nodes(const Range& children, Get get) {
  uint64_t total = 1;
  for (const auto& child : children) total += get(child).nodes();
  return total;
}

}  // namespace

uint32_t Sources::add(std::string name) {
  names_.push_back(std::move(name));
  return static_cast<uint32_t>(names_.size() - 1);
}

std::string Sources::where(Mark mark) const {
  const std::string& name = names_.at(mark.source);
  return mark.line == 0 ? name : fmt::format("{}:{}:{}", name, mark.line, mark.column);
}

void Sources::fail(Mark mark, std::string what, std::string mend) const {
  throw SpecError(where(mark), std::move(what), std::move(mend));
}

Value::Value(Mark mark, Json scalar)
    : node_(std::make_shared<Node>(Node{mark, 1, std::move(scalar)})) {}

Value::Value(Mark mark, List items) {
  const uint64_t nodes = count_nodes(items, [](const Value& v) -> const Value& { return v; });
  node_ = std::make_shared<Node>(Node{mark, nodes, std::move(items)});
}

Value::Value(Mark mark, Map entries) {
  const uint64_t nodes =
      count_nodes(entries, [](const Entry& e) -> const Value& { return e.value; });
  node_ = std::make_shared<Node>(Node{mark, nodes, std::move(entries)});
}

const Value::Entry* Value::find(std::string_view key) const {
  if (!is_map()) return nullptr;
  const auto found = std::ranges::find(entries(), key, &Entry::key);
  return found == entries().end() ? nullptr : &*found;
}

Json Value::json() const {
  if (is_scalar()) return scalar();
  if (nodes() > max_json_nodes)
    throw Problem{fmt::format("holds more than {} values", max_json_nodes), "give fewer"};
  if (is_list()) {
    Json out = Json::array();
    for (const auto& item : items()) out.push_back(item.json());
    return out;
  }
  Json out = Json::object();
  for (const auto& entry : entries()) out.push_back({entry.key, entry.value.json()});
  return out;
}

std::string Value::kind() const {
  if (is_list()) return "a list";
  if (is_map()) return "a mapping";
  return kind_of(scalar());
}

Value value_from_json(const Json& json, Mark mark) {
  if (json.is_array()) {
    Value::List items;
    for (const auto& item : json) items.push_back(value_from_json(item, mark));
    return {mark, std::move(items)};
  }
  if (json.is_object()) {
    Value::Map entries;
    for (const auto& [key, value] : json.items())
      entries.push_back({key, mark, value_from_json(value, mark)});
    return {mark, std::move(entries)};
  }
  return {mark, json};
}

std::string kind_of(const Json& value) {
  if (value.is_null()) return "null";
  if (value.is_boolean()) return "true or false";
  if (value.is_number_integer()) return "a whole number";
  if (value.is_number()) return "a number";
  if (value.is_string()) return "text";
  return value.is_array() ? "a list" : "a mapping";
}

}  // namespace backlot
