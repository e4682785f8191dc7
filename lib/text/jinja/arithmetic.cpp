#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "text/jinja/interpreter.h"

namespace backlot::jinja {
namespace {

int64_t checked(bool overflowed, int64_t result) {
  if (overflowed) throw Error("a whole number is too large");
  return result;
}

int64_t floored_quotient(int64_t a, int64_t b) {
  if (b == 0) throw Error("division by zero");
  if (b == -1) {
    int64_t result = 0;
    const bool overflowed = __builtin_sub_overflow(int64_t{0}, a, &result);
    return checked(overflowed, result);
  }
  const int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

int64_t power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  if (base == 0 || base == 1) return exponent == 0 ? 1 : base;
  if (base == -1) return exponent % 2 == 0 ? 1 : -1;
  for (; exponent > 0; --exponent) {
    const bool overflowed = __builtin_mul_overflow(result, base, &result);
    checked(overflowed, result);
  }
  return result;
}

Value of_integers(const std::string& op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflowed = false;
  if (op == "+") overflowed = __builtin_add_overflow(a, b, &result);
  if (op == "-") overflowed = __builtin_sub_overflow(a, b, &result);
  if (op == "*") overflowed = __builtin_mul_overflow(a, b, &result);
  if (op == "//") result = floored_quotient(a, b);
  // As Python does it, the remainder has the sign of the divisor.
  if (op == "%") result = b == -1 ? 0 : a - floored_quotient(a, b) * b;
  if (op == "**") result = power(a, b);
  return Value::of(checked(overflowed, result));
}

Value of_reals(const std::string& op, double a, double b) {
  if ((op == "/" || op == "//" || op == "%") && b == 0) throw Error("division by zero");
  if (op == "+") return Value::of(a + b);
  if (op == "-") return Value::of(a - b);
  if (op == "*") return Value::of(a * b);
  if (op == "/") return Value::of(a / b);
  if (op == "**") return Value::of(std::pow(a, b));
  double remainder = std::fmod(a, b);
  if (remainder != 0 && (remainder < 0) != (b < 0)) remainder += b;
  return Value::of(op == "%" ? remainder : std::floor((a - remainder) / b + 0.5));
}

Value repeated(Interpreter& interpreter, const Value& value, int64_t times) {
  const size_t size = value.is_text() ? value.text().size() : value.items().size();
  const auto count = static_cast<uint64_t>(std::clamp<int64_t>(times, 0, int64_t{1} << 31));
  interpreter.budget().spend(count * std::max<size_t>(size, 1));
  if (value.is_text()) {
    std::string text;
    for (uint64_t i = 0; i < count && size > 0; ++i) text += value.text();
    return interpreter.text(std::move(text));
  }
  interpreter.budget().spend(count * size * 48);
  List items;
  for (uint64_t i = 0; i < count && size > 0; ++i)
    items.insert(items.end(), value.items().begin(), value.items().end());
  return value.is_tuple() ? interpreter.tuple(std::move(items))
                          : interpreter.list(std::move(items));
}

bool is_whole(const Value& value) { return value.is_integer() || value.is_boolean(); }

}  // namespace

Value arithmetic(Interpreter& interpreter, const std::string& op, const Value& a, const Value& b) {
  if (op == "~")
    return interpreter.text(to_text(a, interpreter.budget()) + to_text(b, interpreter.budget()));
  for (const Value* value : {&a, &b})
    if (value->is_undefined()) value->text();  // which throws what is undefined
  const bool both_whole = is_whole(a) && is_whole(b);
  if (both_whole && op != "/" && (op != "**" || b.integer() >= 0))
    return of_integers(op, a.integer(), b.integer());
  if (a.is_number() && b.is_number()) return of_reals(op, a.real(), b.real());
  if (op == "+" && a.is_text() && b.is_text()) return interpreter.text(a.text() + b.text());
  if (op == "+" && a.is_sequence() && b.is_sequence() && a.is_tuple() == b.is_tuple()) {
    List items = a.items();
    items.insert(items.end(), b.items().begin(), b.items().end());
    return a.is_tuple() ? interpreter.tuple(std::move(items)) : interpreter.list(std::move(items));
  }
  if (op == "*" && (a.is_text() || a.is_sequence()) && is_whole(b))
    return repeated(interpreter, a, b.integer());
  if (op == "*" && (b.is_text() || b.is_sequence()) && is_whole(a))
    return repeated(interpreter, b, a.integer());
  throw Error(fmt::format("'{}' does not take a {} and a {}", op, a.type(), b.type()));
}

Parameters::Parameters(const Arguments& arguments, const char* who,
                       std::initializer_list<const char*> names)
    : who_(who), names_(names), values_(names.size()) {
  if (arguments.positional.size() > names_.size())
    throw Error(fmt::format("{} takes {} arguments at most", who, names_.size()));
  for (size_t i = 0; i < arguments.positional.size(); ++i) values_[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto at = std::find(names_.begin(), names_.end(), name) - names_.begin();
    const auto i = static_cast<size_t>(at);
    if (i == names_.size() || values_[i])
      throw Error(fmt::format("{} has no parameter '{}' left", who, name));
    values_[i] = &value;
  }
}

const Value& Parameters::at(size_t i) const {
  if (!has(i)) throw Error(fmt::format("{} needs '{}'", who_, names_[i]));
  return *values_[i];
}

int64_t Parameters::integer(size_t i, int64_t otherwise) const {
  return has(i) && !values_[i]->is_none() ? values_[i]->integer() : otherwise;
}

std::string Parameters::text(size_t i, const char* otherwise) const {
  return has(i) ? values_[i]->text() : otherwise;
}

}  // namespace backlot::jinja
