// What can stand after `is`.
#include <algorithm>

#include "base/utf8.h"
#include "text/jinja/interpreter.h"
#include "text/unicode.h"

namespace backlot::jinja {
namespace {

using Check = bool (*)(const Value& value);

template <Check check>
Value plain(Interpreter&, const Value& self, const Arguments& arguments) {
  const Parameters none(arguments, "the test", {});
  return Value::of(check(self));
}

bool is_defined(const Value& value) { return !value.is_undefined(); }
bool is_undefined(const Value& value) { return value.is_undefined(); }
bool is_none(const Value& value) { return value.is_none(); }
bool is_boolean(const Value& value) { return value.is_boolean(); }
bool is_true(const Value& value) { return value.is_boolean() && value.truth(); }
bool is_false(const Value& value) { return value.is_boolean() && !value.truth(); }
bool is_integer(const Value& value) { return value.is_integer(); }
bool is_real(const Value& value) { return value.is_real(); }
bool is_number(const Value& value) { return value.is_number(); }
bool is_text(const Value& value) { return value.is_text(); }
bool is_mapping(const Value& value) { return value.is_dict(); }
bool has_items(const Value& value) {
  return value.is_text() || value.is_sequence() || value.is_dict();
}
bool is_iterable(const Value& value) { return value.is_undefined() || has_items(value); }
bool is_sequence(const Value& value) { return is_iterable(value); }
bool is_callable(const Value& value) { return value.is_object() && value.object().callable(); }
bool is_odd(const Value& value) { return value.integer() % 2 != 0; }
bool is_even(const Value& value) { return value.integer() % 2 == 0; }

bool has_cased(const std::u32string& text) {
  return std::any_of(text.begin(), text.end(), [](char32_t c) {
    return lowercase({&c, 1}) != std::u32string(1, c) || uppercase({&c, 1}) != std::u32string(1, c);
  });
}

bool is_lower(const Value& value) {
  const auto text = decode_utf8(value.text());
  return has_cased(text) && lowercase(text) == text;
}

bool is_upper(const Value& value) {
  const auto text = decode_utf8(value.text());
  return has_cased(text) && uppercase(text) == text;
}

enum class Order { equal, unequal, less, less_or_equal, greater, greater_or_equal };

template <Order order>
Value ordered(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "the test", {"other"});
  const Value& other = given.at(0);
  Budget& budget = interpreter.budget();
  switch (order) {
    case Order::equal:
      return Value::of(equal(self, other, budget));
    case Order::unequal:
      return Value::of(!equal(self, other, budget));
    case Order::less:
      return Value::of(compare(self, other, budget) < 0);
    case Order::less_or_equal:
      return Value::of(compare(self, other, budget) <= 0);
    case Order::greater:
      return Value::of(compare(self, other, budget) > 0);
    default:
      return Value::of(compare(self, other, budget) >= 0);
  }
}

Value is_in(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "the test 'in'", {"seq"});
  return Value::of(contains(given.at(0), self, interpreter.budget()));
}

Value is_divisible(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "the test 'divisibleby'", {"num"});
  return Value::of(!arithmetic(interpreter, "%", self, given.at(0)).truth());
}

// Identity in Python: of values such as none and true, which are all that it is used for.
Value is_same(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "the test 'sameas'", {"other"});
  return Value::of(self.type() == given.at(0).type() &&
                   equal(self, given.at(0), interpreter.budget()));
}

Value is_filter(Interpreter&, const Value& self, const Arguments&) {
  return Value::of(find_filter(self.text()) != nullptr);
}

Value is_test(Interpreter&, const Value& self, const Arguments&) {
  return Value::of(find_test(self.text()) != nullptr);
}

}  // namespace

Native find_test(std::string_view name) {
  static const std::map<std::string_view, Native> tests = {
      {"defined", plain<is_defined>},
      {"undefined", plain<is_undefined>},
      {"none", plain<is_none>},
      {"boolean", plain<is_boolean>},
      {"true", plain<is_true>},
      {"false", plain<is_false>},
      {"integer", plain<is_integer>},
      {"float", plain<is_real>},
      {"number", plain<is_number>},
      {"string", plain<is_text>},
      {"mapping", plain<is_mapping>},
      {"iterable", plain<is_iterable>},
      {"sequence", plain<is_sequence>},
      {"callable", plain<is_callable>},
      {"odd", plain<is_odd>},
      {"even", plain<is_even>},
      {"lower", plain<is_lower>},
      {"upper", plain<is_upper>},
      {"divisibleby", is_divisible},
      {"in", is_in},
      {"sameas", is_same},
      {"filter", is_filter},
      {"test", is_test},
      {"eq", ordered<Order::equal>},
      {"equalto", ordered<Order::equal>},
      {"==", ordered<Order::equal>},
      {"ne", ordered<Order::unequal>},
      {"!=", ordered<Order::unequal>},
      {"lt", ordered<Order::less>},
      {"lessthan", ordered<Order::less>},
      {"<", ordered<Order::less>},
      {"le", ordered<Order::less_or_equal>},
      {"<=", ordered<Order::less_or_equal>},
      {"gt", ordered<Order::greater>},
      {"greaterthan", ordered<Order::greater>},
      {">", ordered<Order::greater>},
      {"ge", ordered<Order::greater_or_equal>},
      {">=", ordered<Order::greater_or_equal>},
  };
  const auto found = tests.find(name);
  return found == tests.end() ? nullptr : found->second;
}

}  // namespace backlot::jinja
