#include <fmt/format.h>

#include <algorithm>

#include "base/utf8.h"
#include "text/jinja/deeper.h"
#include "text/jinja/interpreter.h"

namespace backlot::jinja {
namespace {

constexpr uint64_t most_work = uint64_t{1} << 26;  // about a second at the worst
constexpr uint64_t value_cost = 48;                // units for a value in a list

// Python's name in messages about attributes.
std::string object_name(const Value& value) {
  return value.type() + (value.is_none() ? "" : " object");
}

Value missing(const Value& object, const std::string& name) {
  return Value::undefined(fmt::format("'{}' has no attribute '{}'", object_name(object), name));
}

[[noreturn]] void throw_undefined(const Value& value) {
  value.text();  // which throws what is undefined
  throw Error("a value is undefined");
}

}  // namespace

Interpreter::Interpreter(std::time_t now) : budget_(most_work), now_(now) {}

Value Interpreter::text(std::string text) {
  budget_.spend(text.size());
  return Value::of(std::move(text));
}

Value Interpreter::list(List items) {
  budget_.spend(items.size() * value_cost);
  return Value::list(std::move(items));
}

Value Interpreter::tuple(List items) {
  budget_.spend(items.size() * value_cost);
  return Value::tuple(std::move(items));
}

Value Interpreter::attribute_of(const Value& object, const std::string& name) {
  if (object.is_undefined()) throw_undefined(object);
  if (object.is_object()) return object.object().attribute(name);
  Native method = nullptr;
  if (object.is_text()) method = find_text_method(name);
  if (object.is_sequence()) method = find_list_method(name);
  if (object.is_dict()) method = find_dict_method(name);
  if (method) return bound(name, method, object);
  if (object.is_dict()) {
    budget_.spend(object.entries().size());
    if (const Value* value = object.find(name)) return *value;
  }
  return missing(object, name);
}

Value Interpreter::item_of(const Value& object, const Value& key) {
  if (object.is_undefined()) throw_undefined(object);
  if (object.is_dict() && key.is_text()) {
    budget_.spend(object.entries().size());
    if (const Value* value = object.find(key.text())) return *value;
  }
  if (key.is_text()) return attribute_of(object, key.text());
  if (!key.is_integer() && !key.is_boolean()) return missing(object, key.type());
  if (object.is_sequence() || object.is_text()) {
    const List items = items_of(object);
    const auto size = static_cast<int64_t>(items.size());
    const int64_t index = key.integer() < 0 ? key.integer() + size : key.integer();
    if (index >= 0 && index < size) return items[static_cast<size_t>(index)];
  }
  return missing(object, std::to_string(key.integer()));
}

List Interpreter::items_of(const Value& value) {
  List items;
  if (value.is_undefined()) return items;
  if (value.is_dict()) {
    for (const auto& [key, item] : value.entries()) items.push_back(text(key));
  } else if (value.is_text()) {
    for (const char32_t c : decode_utf8(value.text())) {
      budget_.spend(value_cost);
      items.push_back(Value::of(encode_utf8({&c, 1})));
    }
  } else if (value.is_sequence()) {
    items = value.items();
  } else {
    throw Error(fmt::format("a {} has no items", value.type()));
  }
  budget_.spend(items.size() * value_cost);
  return items;
}

Value Interpreter::apply_filter(const std::string& name, const Value& input,
                                const Arguments& arguments) {
  const Native filter = find_filter(name);
  if (!filter) throw Error(fmt::format("there is no filter '{}'", name));
  return filter(*this, input, arguments);
}

bool Interpreter::apply_test(const std::string& name, const Value& input,
                             const Arguments& arguments) {
  const Native test = find_test(name);
  if (!test) throw Error(fmt::format("there is no test '{}'", name));
  return test(*this, input, arguments).truth();
}

Value Interpreter::evaluate(const Expression& expression, const Scope& scope) {
  const Deeper deeper(depth_, budget_);
  line_ = expression.line;
  return std::visit([&](const auto& node) { return evaluate(node, scope); }, expression.node);
}

Value Interpreter::evaluate(const Constant& node, const Scope&) { return node.value; }

Value Interpreter::evaluate(const Name& node, const Scope& scope) {
  const Value* value = scope.find(node.name);
  return value ? *value : Value::undefined(fmt::format("'{}' is undefined", node.name));
}

Value Interpreter::evaluate(const Attribute& node, const Scope& scope) {
  return attribute_of(evaluate(*node.object, scope), node.name);
}

Value Interpreter::evaluate(const Subscript& node, const Scope& scope) {
  const Value object = evaluate(*node.object, scope);
  return item_of(object, evaluate(*node.key, scope));
}

Value Interpreter::evaluate(const Slice& node, const Scope& scope) {
  const Value object = evaluate(*node.object, scope);
  const auto bound_of = [&](const ExpressionPtr& part) -> std::optional<int64_t> {
    if (!part) return std::nullopt;
    const Value value = evaluate(*part, scope);
    if (value.is_none()) return std::nullopt;
    return std::clamp<int64_t>(value.integer(), -(int64_t{1} << 40), int64_t{1} << 40);
  };
  const auto begin = bound_of(node.begin), end = bound_of(node.end), by = bound_of(node.step);
  if (object.is_undefined()) throw_undefined(object);
  if (!object.is_text() && !object.is_sequence())
    throw Error(fmt::format("a {} can't be sliced", object.type()));
  const int64_t step = by.value_or(1);
  if (step == 0) throw Error("a slice has a step of 0");
  const List items = items_of(object);
  const auto size = static_cast<int64_t>(items.size());
  const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
  const auto settled = [&](std::optional<int64_t> at, int64_t otherwise) {
    return at ? std::clamp(*at < 0 ? *at + size : *at, low, high) : otherwise;
  };
  const int64_t from = settled(begin, step > 0 ? low : high);
  const int64_t to = settled(end, step > 0 ? high : low);
  List picked;
  for (int64_t i = from; step > 0 ? i < to : i > to; i += step)
    picked.push_back(items[static_cast<size_t>(i)]);
  if (object.is_sequence())
    return object.is_tuple() ? tuple(std::move(picked)) : list(std::move(picked));
  std::string joined;
  for (const Value& character : picked) joined += character.text();
  return text(std::move(joined));
}

Value Interpreter::evaluate(const Call& node, const Scope& scope) {
  const Value callee = evaluate(*node.callee, scope);
  const Arguments arguments = evaluate_arguments(node.arguments, scope);
  return callee.object().call(*this, arguments);
}

Value Interpreter::evaluate(const Filter& node, const Scope& scope) {
  const Value input = evaluate(*node.input, scope);
  return apply_filter(node.name, input, evaluate_arguments(node.arguments, scope));
}

Value Interpreter::evaluate(const Test& node, const Scope& scope) {
  const Value input = evaluate(*node.input, scope);
  return Value::of(apply_test(node.name, input, evaluate_arguments(node.arguments, scope)));
}

Value Interpreter::evaluate(const Unary& node, const Scope& scope) {
  const Value operand = evaluate(*node.operand, scope);
  if (node.op == "not") return Value::of(!operand.truth());
  if (node.op == "+") return operand.is_real() ? operand : Value::of(operand.integer());
  if (operand.is_real()) return Value::of(-operand.real());
  return arithmetic(*this, "-", Value::of(int64_t{0}), Value::of(operand.integer()));
}

Value Interpreter::evaluate(const Binary& node, const Scope& scope) {
  const Value left = evaluate(*node.left, scope);
  if (node.op == "and" && !left.truth()) return left;
  if (node.op == "or" && left.truth()) return left;
  const Value right = evaluate(*node.right, scope);
  if (node.op == "and" || node.op == "or") return right;
  return arithmetic(*this, node.op, left, right);
}

bool Interpreter::holds(const std::string& op, const Value& left, const Value& right) {
  if (op == "==") return equal(left, right, budget_);
  if (op == "!=") return !equal(left, right, budget_);
  if (op == "in") return contains(right, left, budget_);
  if (op == "not in") return !contains(right, left, budget_);
  const int order = compare(left, right, budget_);
  if (op == "<") return order < 0;
  if (op == "<=") return order <= 0;
  return op == ">" ? order > 0 : order >= 0;
}

Value Interpreter::evaluate(const Comparison& node, const Scope& scope) {
  Value left = evaluate(*node.first, scope);
  for (const auto& [op, operand] : node.rest) {
    Value right = evaluate(*operand, scope);
    if (!holds(op, left, right)) return Value::of(false);
    left = std::move(right);
  }
  return Value::of(true);
}

Value Interpreter::evaluate(const Conditional& node, const Scope& scope) {
  if (evaluate(*node.condition, scope).truth()) return evaluate(*node.then, scope);
  if (node.otherwise) return evaluate(*node.otherwise, scope);
  return Value::undefined("the condition of an 'if' without 'else' does not hold");
}

List Interpreter::evaluate_all(const Expressions& expressions, const Scope& scope) {
  List values;
  for (const auto& expression : expressions) values.push_back(evaluate(*expression, scope));
  return values;
}

Value Interpreter::evaluate(const ListDisplay& node, const Scope& scope) {
  return list(evaluate_all(node.items, scope));
}

Value Interpreter::evaluate(const TupleDisplay& node, const Scope& scope) {
  return tuple(evaluate_all(node.items, scope));
}

Value Interpreter::evaluate(const DictDisplay& node, const Scope& scope) {
  Entries entries;
  for (const auto& [key_expression, value_expression] : node.entries) {
    const Value key = evaluate(*key_expression, scope);
    if (!key.is_text()) throw Error("keys other than texts are not supported");
    Value value = evaluate(*value_expression, scope);
    budget_.spend(value_cost + entries.size());
    const auto found = std::find_if(entries.begin(), entries.end(),
                                    [&](const auto& entry) { return entry.first == key.text(); });
    if (found == entries.end())
      entries.emplace_back(key.text(), std::move(value));
    else
      found->second = std::move(value);
  }
  return Value::dict(std::move(entries));
}

Arguments Interpreter::evaluate_arguments(const CallArguments& arguments, const Scope& scope) {
  Arguments values;
  values.positional = evaluate_all(arguments.positional, scope);
  for (const auto& [name, expression] : arguments.named)
    values.named.emplace_back(name, evaluate(*expression, scope));
  return values;
}

}  // namespace backlot::jinja
