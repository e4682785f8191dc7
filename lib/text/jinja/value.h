// The values of a template: Python's, as far as chat templates use them. Immutable, but for
// namespaces. What could take long or grow without bounds spends from a Budget.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/json.h"

namespace backlot::jinja {

// What is wrong with a template or with what it does. The line is added where it is known.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The work that one rendering may do, in units of about a byte copied.
class Budget {
 public:
  explicit Budget(uint64_t units) : left_(units) {}
  void spend(uint64_t units) {
    if (units > left_) throw Error("it takes too much work or memory");
    left_ -= units;
  }

 private:
  uint64_t left_;
};

class Value;
class Interpreter;
using List = std::vector<Value>;
using Entries = std::vector<std::pair<std::string, Value>>;

struct Arguments {
  List positional;
  Entries named;
};

// Something with attributes that may be called: a namespace, a loop, a macro, a method.
class Object {
 public:
  virtual ~Object() = default;
  virtual std::string type() const = 0;
  virtual Value attribute(const std::string& name) const;
  virtual bool callable() const { return false; }
  virtual Value call(Interpreter& interpreter, const Arguments& arguments) const;
};

class Value {
 public:
  struct Undefined {
    std::string what;  // "'x' is undefined"
  };
  struct None {};

  Value() : data_(Undefined{"a value is undefined"}) {}
  static Value undefined(std::string what);
  static Value none();
  static Value of(bool b);
  static Value of(int64_t i);
  static Value of(double d);
  static Value of(std::string text);
  // Throw Error if values would be nested too deep. A dict's keys are distinct.
  static Value list(List items);
  static Value tuple(List items);
  static Value dict(Entries entries);
  static Value of(std::shared_ptr<Object> object);
  static Value from_json(const Json& json);
  static Value of(const char*) = delete;

  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  bool is_boolean() const { return std::holds_alternative<bool>(data_); }
  bool is_integer() const { return std::holds_alternative<int64_t>(data_); }
  bool is_real() const { return std::holds_alternative<double>(data_); }
  bool is_number() const { return is_boolean() || is_integer() || is_real(); }
  bool is_text() const { return std::holds_alternative<Text>(data_); }
  bool is_sequence() const { return std::holds_alternative<Sequence>(data_); }  // list or tuple
  bool is_tuple() const;
  bool is_dict() const { return std::holds_alternative<Dict>(data_); }
  bool is_object() const { return std::holds_alternative<std::shared_ptr<Object>>(data_); }

  // Each throws Error if the value is of another kind; an undefined one says what it is.
  int64_t integer() const;  // of booleans as well
  double real() const;      // of any number
  const std::string& text() const;
  const List& items() const;
  const Entries& entries() const;
  Object& object() const;

  bool truth() const;
  std::string type() const;                         // Python's name: "str", "int", …
  const Value* find(const std::string& key) const;  // in a dict

  // Whether a namespace, a loop or anything else that is no plain data is inside.
  bool has_objects() const;

 private:
  struct SequenceData {
    List items;
    int depth;
    bool has_objects, tuple;
  };
  struct DictData {
    Entries entries;
    int depth;
    bool has_objects;
  };
  using Text = std::shared_ptr<const std::string>;
  using Sequence = std::shared_ptr<const SequenceData>;
  using Dict = std::shared_ptr<const DictData>;

  static Value sequence(List items, bool tuple);
  int depth() const;
  [[noreturn]] void not_a(const char* expected) const;

  std::variant<Undefined, None, bool, int64_t, double, Text, Sequence, Dict,
               std::shared_ptr<Object>>
      data_;
};

bool equal(const Value& a, const Value& b, Budget& budget);
// Negative, 0 or positive; throws Error for what Python can't order.
int compare(const Value& a, const Value& b, Budget& budget);
bool contains(const Value& container, const Value& item, Budget& budget);

// Python's str() and repr().
std::string to_text(const Value& value, Budget& budget);
std::string to_repr(const Value& value, Budget& budget);
std::string real_to_text(double value);

struct JsonStyle {
  int indent = -1;  // -1: one line
  bool ensure_ascii = false, sort_keys = false;
  std::string between_items = ", ", after_key = ": ";
};
// Python's json.dumps().
std::string to_json(const Value& value, const JsonStyle& style, Budget& budget);

}  // namespace backlot::jinja
