// The methods of texts, lists and dicts. Those that would change a list or a dict are not there, as
// in Jinja2's immutable sandbox.
#include <fmt/format.h>

#include <algorithm>

#include "base/utf8.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/lexer.h"
#include "text/jinja/text_functions.h"
#include "text/unicode.h"

namespace backlot::jinja {
namespace {

std::optional<std::string> optional_text(const Parameters& given, size_t i) {
  if (!given.has(i) || given.at(i).is_none()) return std::nullopt;
  return given.at(i).text();
}

Value list_of(Interpreter& interpreter, const std::vector<std::string>& parts) {
  List items;
  for (const auto& part : parts) items.push_back(interpreter.text(part));
  return interpreter.list(std::move(items));
}

template <Side side>
Value strip(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "strip()", {"chars"});
  const auto set = optional_text(given, 0);
  interpreter.budget().spend(self.text().size() * (set ? set->size() : 1));
  return interpreter.text(stripped(self.text(), set, side));
}

template <Side from>
Value split_text(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "split()", {"sep", "maxsplit"});
  const auto separator = optional_text(given, 0);
  if (separator && separator->empty()) throw Error("split() at nothing");
  interpreter.budget().spend(self.text().size() * 48);
  return list_of(interpreter, split(self.text(), separator, given.integer(1, -1), from));
}

Value split_lines(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "splitlines()", {"keepends"});
  interpreter.budget().spend(self.text().size() * 48);
  return list_of(interpreter, lines_of(self.text(), given.truth(0)));
}

// Whether the text begins or ends with one of the texts.
template <Side side>
Value begins_or_ends(Interpreter&, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "startswith() or endswith()", {"affix"});
  const auto fits = [&](const Value& affix) {
    return side == Side::left ? self.text().starts_with(affix.text())
                              : self.text().ends_with(affix.text());
  };
  const Value& affix = given.at(0);
  if (!affix.is_tuple()) return Value::of(fits(affix));
  return Value::of(std::any_of(affix.items().begin(), affix.items().end(), fits));
}

Value replace(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "replace()", {"old", "new", "count"});
  const std::string& by = given.at(1).text();
  interpreter.budget().spend((self.text().size() + 1) * (by.size() + 1));
  return interpreter.text(replaced(self.text(), given.at(0).text(), by, given.integer(2, -1)));
}

template <std::string (*change)(std::string_view)>
Value changed_case(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters none(arguments, "the method", {});
  return interpreter.text(change(self.text()));
}

std::string title(std::string_view text) {
  std::u32string result;
  bool inside = false;
  for (const char32_t c : decode_utf8(text)) {
    const bool cased = lowercase({&c, 1}) != uppercase({&c, 1});
    result += inside ? lowercase({&c, 1}) : uppercase({&c, 1});
    inside = cased;
  }
  return encode_utf8(result);
}

// The position in characters, -1 if it is not there.
template <Side from>
Value find(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "find()", {"sub"});
  const std::string &text = self.text(), &part = given.at(0).text();
  interpreter.budget().spend(text.size());
  const size_t at = from == Side::right ? text.rfind(part) : text.find(part);
  if (at == std::string::npos) return Value::of(int64_t{-1});
  return Value::of(static_cast<int64_t>(decode_utf8(std::string_view(text).substr(0, at)).size()));
}

Value index_in_text(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Value at = find<Side::left>(interpreter, self, arguments);
  if (at.integer() < 0) throw Error("index(): the text is not there");
  return at;
}

Value count_in_text(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "count()", {"sub"});
  const std::string &text = self.text(), &part = given.at(0).text();
  interpreter.budget().spend(text.size());
  if (part.empty()) return Value::of(static_cast<int64_t>(decode_utf8(text).size() + 1));
  int64_t count = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++count;
  return Value::of(count);
}

Value join(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "join()", {"iterable"});
  std::string joined;
  bool first = true;
  for (const Value& item : interpreter.items_of(given.at(0))) {
    if (!std::exchange(first, false)) joined += self.text();
    interpreter.budget().spend(self.text().size() + item.text().size());
    joined += item.text();
  }
  return interpreter.text(std::move(joined));
}

template <Side side>
Value without_affix(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "removeprefix() or removesuffix()", {"affix"});
  std::string text = self.text();
  const std::string& affix = given.at(0).text();
  if (side == Side::left && text.starts_with(affix)) text.erase(0, affix.size());
  if (side == Side::right && text.ends_with(affix)) text.resize(text.size() - affix.size());
  return interpreter.text(std::move(text));
}

template <bool (*is_of_kind)(char32_t)>
Value all_are(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters none(arguments, "the method", {});
  interpreter.budget().spend(self.text().size());
  const auto text = decode_utf8(self.text());
  return Value::of(!text.empty() && std::all_of(text.begin(), text.end(), is_of_kind));
}

template <bool lower_case>
Value is_in_case(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters none(arguments, "the method", {});
  return Value::of(interpreter.apply_test(lower_case ? "lower" : "upper", self, {}));
}

Value index_in_list(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "index()", {"value"});
  const List& items = self.items();
  for (size_t i = 0; i < items.size(); ++i)
    if (equal(items[i], given.at(0), interpreter.budget()))
      return Value::of(static_cast<int64_t>(i));
  throw Error("index(): the value is not in the list");
}

Value count_in_list(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "count()", {"value"});
  int64_t count = 0;
  for (const Value& item : self.items()) count += equal(item, given.at(0), interpreter.budget());
  return Value::of(count);
}

Value itself(Interpreter&, const Value& self, const Arguments& arguments) {
  const Parameters none(arguments, "copy()", {});
  return self;  // values never change
}

Value keys(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters none(arguments, "keys()", {});
  return interpreter.list(interpreter.items_of(self));
}

Value values(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters none(arguments, "values()", {});
  List items;
  for (const auto& [key, value] : self.entries()) items.push_back(value);
  return interpreter.list(std::move(items));
}

Value entries(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters none(arguments, "items()", {});
  List items;
  for (const auto& [key, value] : self.entries())
    items.push_back(interpreter.tuple({Value::of(key), value}));
  return interpreter.list(std::move(items));
}

Value get(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "get()", {"key", "default"});
  interpreter.budget().spend(self.entries().size());
  const Value* value = given.at(0).is_text() ? self.find(given.at(0).text()) : nullptr;
  if (value) return *value;
  return given.has(1) ? given.at(1) : Value::none();
}

bool is_digit(char32_t c) { return is_in_category(c, "Nd"); }
bool is_letter(char32_t c) { return is_in_category(c, "L"); }
bool is_letter_or_digit(char32_t c) { return is_letter(c) || is_in_category(c, "N"); }

using Methods = std::map<std::string_view, Native>;

Native find_in(const Methods& methods, std::string_view name) {
  const auto found = methods.find(name);
  return found == methods.end() ? nullptr : found->second;
}

}  // namespace

Native find_text_method(std::string_view name) {
  static const Methods methods = {
      {"strip", strip<Side::both>},
      {"lstrip", strip<Side::left>},
      {"rstrip", strip<Side::right>},
      {"split", split_text<Side::left>},
      {"rsplit", split_text<Side::right>},
      {"splitlines", split_lines},
      {"startswith", begins_or_ends<Side::left>},
      {"endswith", begins_or_ends<Side::right>},
      {"replace", replace},
      {"upper", changed_case<upper>},
      {"lower", changed_case<lower>},
      {"capitalize", changed_case<capitalised>},
      {"title", changed_case<title>},
      {"find", find<Side::left>},
      {"rfind", find<Side::right>},
      {"index", index_in_text},
      {"count", count_in_text},
      {"join", join},
      {"removeprefix", without_affix<Side::left>},
      {"removesuffix", without_affix<Side::right>},
      {"isdigit", all_are<is_digit>},
      {"isdecimal", all_are<is_digit>},
      {"isalpha", all_are<is_letter>},
      {"isalnum", all_are<is_letter_or_digit>},
      {"isspace", all_are<is_python_space>},
      {"islower", is_in_case<true>},
      {"isupper", is_in_case<false>},
  };
  return find_in(methods, name);
}

Native find_list_method(std::string_view name) {
  static const Methods methods = {
      {"index", index_in_list}, {"count", count_in_list}, {"copy", itself}};
  return find_in(methods, name);
}

Native find_dict_method(std::string_view name) {
  static const Methods methods = {
      {"keys", keys}, {"values", values}, {"items", entries}, {"get", get}, {"copy", itself}};
  return find_in(methods, name);
}

}  // namespace backlot::jinja
