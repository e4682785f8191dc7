// Renders a parsed template. One rendering each.
#pragma once

#include <ctime>
#include <map>
#include <string>
#include <string_view>

#include "text/jinja/ast.h"
#include "text/jinja/value.h"

namespace backlot::jinja {

// The names of a block and, behind them, of what is around it. Values only go inwards, so that what
// refers to a scope, such as a macro, does not outlive it.
class Scope {
 public:
  explicit Scope(const Scope* around) : around_(around) {}
  void set(const std::string& name, Value value);
  const Value* find(const std::string& name) const;

 private:
  const Scope* around_;
  std::map<std::string, Value, std::less<>> names_;
};

// What raise_exception throws.
struct Raised {
  std::string message;
};

// A function of C++: `self` is what a method belongs to or what a filter or a test is applied to.
using Native = Value (*)(Interpreter& interpreter, const Value& self, const Arguments& arguments);

// nullptr if there is none of the name.
Native find_filter(std::string_view name);
Native find_test(std::string_view name);
Native find_text_method(std::string_view name);
Native find_list_method(std::string_view name);
Native find_dict_method(std::string_view name);

class Interpreter {
 public:
  explicit Interpreter(std::time_t now);

  // Throws Error or Raised; line() then tells where.
  std::string render(const Block& block, const Entries& variables);
  size_t line() const { return line_; }

  Budget& budget() { return budget_; }
  std::time_t now() const { return now_; }

  // Values that were made: their size counts.
  Value text(std::string text);
  Value list(List items);
  Value tuple(List items);

  Value attribute_of(const Value& object, const std::string& name);
  Value item_of(const Value& object, const Value& key);
  // Items of a list, keys of a dict, characters of a text; nothing of what is undefined.
  List items_of(const Value& value);
  Value apply_filter(const std::string& name, const Value& input, const Arguments& arguments);
  bool apply_test(const std::string& name, const Value& input, const Arguments& arguments);
  Value call_macro(const MacroDefinition& macro, const Scope* around, const Arguments& arguments);

 private:
  enum class Flow { on, leave_loop, next_item };
  class Deeper;  // counts how deep evaluation is, and takes time

  Flow run(const Block& block, Scope& scope);
  Flow run(const Statement& statement, Scope& scope);
  Flow run_loop(const For& loop, Scope& scope);
  std::string captured(const Block& block, Scope& scope);
  void write(std::string_view text);
  void assign(const Target& target, const Value& value, Scope& scope);
  void call_with_caller(const CallBlock& block, Scope& scope);
  Value filtered(const Expressions& filters, Value value, const Scope& scope);

  Value evaluate(const Expression& expression, const Scope& scope);
  Value evaluate(const Constant& node, const Scope& scope);
  Value evaluate(const Name& node, const Scope& scope);
  Value evaluate(const Attribute& node, const Scope& scope);
  Value evaluate(const Subscript& node, const Scope& scope);
  Value evaluate(const Slice& node, const Scope& scope);
  Value evaluate(const Call& node, const Scope& scope);
  Value evaluate(const Filter& node, const Scope& scope);
  Value evaluate(const Test& node, const Scope& scope);
  Value evaluate(const Unary& node, const Scope& scope);
  Value evaluate(const Binary& node, const Scope& scope);
  Value evaluate(const Comparison& node, const Scope& scope);
  Value evaluate(const Conditional& node, const Scope& scope);
  Value evaluate(const ListDisplay& node, const Scope& scope);
  Value evaluate(const TupleDisplay& node, const Scope& scope);
  Value evaluate(const DictDisplay& node, const Scope& scope);
  List evaluate_all(const Expressions& expressions, const Scope& scope);
  Arguments evaluate_arguments(const CallArguments& arguments, const Scope& scope);
  bool holds(const std::string& op, const Value& left, const Value& right);

  Budget budget_;
  std::time_t now_;
  size_t line_ = 1;
  int depth_ = 0;
  std::string* output_ = nullptr;
};

// a op b for + - * / // % ** ~.
Value arithmetic(Interpreter& interpreter, const std::string& op, const Value& a, const Value& b);

// The functions that every template can call.
Entries globals();

// A method or function as a value.
Value bound(std::string name, Native function, Value self);

// Arguments by the names of parameters, as Python binds them.
class Parameters {
 public:
  // Throws Error for arguments that the function `who` has no parameter for.
  Parameters(const Arguments& arguments, const char* who, std::initializer_list<const char*> names);
  bool has(size_t i) const { return values_[i] != nullptr; }
  const Value& at(size_t i) const;  // throws Error if it was not given
  bool truth(size_t i) const { return has(i) && values_[i]->truth(); }
  int64_t integer(size_t i, int64_t otherwise) const;
  std::string text(size_t i, const char* otherwise) const;

 private:
  const char* who_;
  std::vector<const char*> names_;
  std::vector<const Value*> values_;
};

}  // namespace backlot::jinja
