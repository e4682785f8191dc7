// A spec as a tree of values that know where they were written.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/json.h"
#include "spec/problem.h"

namespace backlot {

// A place in one of a spec's sources. `line` and `column` count from 1, columns in bytes; line 0
// stands for the source as a whole (a command-line option).
struct Mark {
  uint32_t source = 0, line = 0, column = 0;
};

// The files and options that a spec was put together from.
class Sources {
 public:
  uint32_t add(std::string name);
  std::string where(Mark mark) const;  // "night.yaml:14:9" or "--width"

  // Throws SpecError at `mark`.
  [[noreturn]] void fail(Mark mark, std::string what, std::string mend) const;

  // Calls `check`; a Problem that it throws becomes a SpecError at `mark`, its text prefixed.
  template <class F>
  auto at(Mark mark, std::string_view prefix, F&& check) const {
    try {
      return check();
    } catch (const Problem& problem) {
      fail(mark, std::string(prefix) + problem.what, problem.mend);
    }
  }

 private:
  std::vector<std::string> names_;
};

// An immutable value; copies share it, so an alias costs nothing.
class Value {
 public:
  struct Entry;
  using List = std::vector<Value>;
  using Map = std::vector<Entry>;

  Value() : Value(Mark{}, Json(nullptr)) {}
  Value(Mark mark, Json scalar);  // null, boolean, number or text
  Value(Mark mark, List items);
  Value(Mark mark, Map entries);  // keys are distinct

  Mark mark() const { return node_->mark; }
  bool is_scalar() const { return std::holds_alternative<Json>(node_->content); }
  bool is_list() const { return std::holds_alternative<List>(node_->content); }
  bool is_map() const { return std::holds_alternative<Map>(node_->content); }
  bool is_null() const { return is_scalar() && scalar().is_null(); }
  bool is_text() const { return is_scalar() && scalar().is_string(); }

  // The three readers are for the kind that was asked about first.
  const Json& scalar() const { return std::get<Json>(node_->content); }
  const List& items() const { return std::get<List>(node_->content); }
  const Map& entries() const { return std::get<Map>(node_->content); }

  const Entry* find(std::string_view key) const;   // null if there is none or this is no map
  uint64_t nodes() const { return node_->nodes; }  // in this tree with aliases written out
  // Throws Problem if this has more than 1000 values: Json looks keys up linearly.
  Json json() const;
  std::string kind() const;  // "a list", "text", … for messages

 private:
  struct Node {
    Mark mark;
    uint64_t nodes;
    std::variant<Json, List, Map> content;
  };
  std::shared_ptr<const Node> node_;
};

struct Value::Entry {
  std::string key;
  Mark mark;  // of the key
  Value value;
};

// `json` as a tree whose every value stands at `mark`.
Value value_from_json(const Json& json, Mark mark);

// "text", "a list", "a whole number" … as messages call it.
std::string kind_of(const Json& value);

}  // namespace backlot
