// Jinja2's filters for texts, numbers and JSON. Those for lists are in list_filters.cpp.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/utf8.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/lexer.h"
#include "text/jinja/list_filters.h"
#include "text/jinja/text_functions.h"

namespace backlot::jinja {
namespace {

std::string text_of(Interpreter& interpreter, const Value& value) {
  return to_text(value, interpreter.budget());
}

template <std::string (*change)(std::string_view)>
Value changed_case(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters none(arguments, "the filter", {});
  return interpreter.text(change(text_of(interpreter, self)));
}

// Each word as capitalised by itself; words begin after white space and some brackets.
std::string title(std::string_view text) {
  std::string result, word;
  for (const char32_t c : decode_utf8(text)) {
    if (is_python_space(c) || (c < 0x80 && std::string_view("-({[<").find(static_cast<char>(c)) !=
                                               std::string_view::npos)) {
      result += capitalised(word) + encode_utf8({&c, 1});
      word.clear();
    } else {
      word += encode_utf8({&c, 1});
    }
  }
  return result + capitalised(word);
}

Value trim(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "trim", {"chars"});
  std::optional<std::string> set;
  if (given.has(0) && !given.at(0).is_none()) set = given.at(0).text();
  const std::string text = text_of(interpreter, self);
  interpreter.budget().spend(text.size() * (set ? set->size() : 1));
  return interpreter.text(stripped(text, set, Side::both));
}

Value replace(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "replace", {"old", "new", "count"});
  const std::string text = text_of(interpreter, self), by = text_of(interpreter, given.at(1));
  interpreter.budget().spend((text.size() + 1) * (by.size() + 1));
  return interpreter.text(
      replaced(text, text_of(interpreter, given.at(0)), by, given.integer(2, -1)));
}

Value indent(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "indent", {"width", "first", "blank"});
  std::string margin(4, ' ');
  if (given.has(0)) {
    constexpr int64_t widest = 1000;
    margin =
        given.at(0).is_text()
            ? given.at(0).text()
            : std::string(
                  static_cast<size_t>(std::clamp<int64_t>(given.at(0).integer(), 0, widest)), ' ');
  }
  const auto lines = lines_of(self.text() + "\n", false);
  interpreter.budget().spend(lines.size() * margin.size());
  std::string result = given.truth(1) ? margin : "";
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i) result += "\n";
    if (i && (given.truth(2) || !lines[i].empty())) result += margin;
    result += lines[i];
  }
  return interpreter.text(std::move(result));
}

Value escape(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters none(arguments, "escape", {});
  std::string result;
  for (const char c : text_of(interpreter, self)) {
    if (c == '&')
      result += "&amp;";
    else if (c == '<')
      result += "&lt;";
    else if (c == '>')
      result += "&gt;";
    else if (c == '"')
      result += "&#34;";
    else if (c == '\'')
      result += "&#39;";
    else
      result += c;
  }
  return interpreter.text(std::move(result));
}

Value as_text(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters none(arguments, "the filter", {});
  return interpreter.text(text_of(interpreter, self));
}

Value word_count(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters none(arguments, "wordcount", {});
  const auto words = split(text_of(interpreter, self), std::nullopt, -1, Side::left);
  return Value::of(static_cast<int64_t>(words.size()));
}

Value otherwise(Interpreter&, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "default", {"default_value", "boolean"});
  const bool stands = given.truth(1) ? self.truth() : !self.is_undefined();
  if (stands) return self;
  return given.has(0) ? given.at(0) : Value::of(std::string());
}

Value to_json_text(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "tojson",
                         {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = given.truth(0);
  constexpr int64_t widest = 1000;
  style.indent = static_cast<int>(std::clamp<int64_t>(given.integer(1, -1), -1, widest));
  if (style.indent >= 0) style.between_items = ",";
  if (given.has(2) && !given.at(2).is_none()) {
    const List& separators = given.at(2).items();
    if (separators.size() != 2) throw Error("tojson: separators are two texts");
    style.between_items = separators[0].text();
    style.after_key = separators[1].text();
  }
  style.sort_keys = given.truth(3);
  return interpreter.text(to_json(self, style, interpreter.budget()));
}

// The number that all of the text spells, as Python reads it.
template <typename Number>
std::optional<Number> number_in(std::string text) {
  text = stripped(text, std::nullopt, Side::both);
  if (text.starts_with('+')) text.erase(0, 1);
  Number number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<int64_t> whole(double value) {
  constexpr double limit = 9.2e18;
  if (!(std::abs(value) < limit)) return std::nullopt;
  return static_cast<int64_t>(value);
}

Value to_integer(Interpreter&, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "int", {"default", "base"});
  if (given.has(1) && given.at(1).integer() != 10) throw Error("int: bases are not supported");
  std::optional<int64_t> result;
  if (self.is_text()) {
    result = number_in<int64_t>(self.text());
    if (!result)
      if (const auto real = number_in<double>(self.text())) result = whole(*real);
  } else if (self.is_real()) {
    result = whole(self.real());
  } else if (self.is_number()) {
    result = self.integer();
  } else if (self.is_undefined()) {
    self.text();  // which throws what is undefined
  }
  if (result) return Value::of(*result);
  return given.has(0) ? given.at(0) : Value::of(int64_t{0});
}

Value to_real(Interpreter&, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "float", {"default"});
  std::optional<double> result;
  if (self.is_text()) result = number_in<double>(self.text());
  if (self.is_number()) result = self.real();
  if (self.is_undefined()) self.text();  // which throws what is undefined
  if (result) return Value::of(*result);
  return given.has(0) ? given.at(0) : Value::of(0.0);
}

Value magnitude(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters none(arguments, "abs", {});
  if (self.is_real()) return Value::of(std::abs(self.real()));
  if (self.integer() >= 0) return Value::of(self.integer());
  return arithmetic(interpreter, "-", Value::of(int64_t{0}), self);
}

Value rounded(Interpreter&, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "round", {"precision", "method"});
  const std::string method = given.text(1, "common");
  const int64_t precision = given.integer(0, 0);
  if (precision < 0 || precision > 15) throw Error("round: a precision is from 0 to 15");
  if (method == "common") {
    if (!self.is_real()) return Value::of(self.integer());
    // Exact decimals, ties to even: what Python's round() does.
    return Value::of(std::stod(fmt::format("{:.{}f}", self.real(), precision)));
  }
  if (method != "ceil" && method != "floor") throw Error("round: common, ceil or floor");
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = self.real() * scale;
  return Value::of((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

}  // namespace

Native find_filter(std::string_view name) {
  static const std::map<std::string_view, Native> filters = {
      {"trim", trim},
      {"replace", replace},
      {"indent", indent},
      {"upper", changed_case<upper>},
      {"lower", changed_case<lower>},
      {"capitalize", changed_case<capitalised>},
      {"title", changed_case<title>},
      {"escape", escape},
      {"e", escape},
      {"string", as_text},
      {"safe", as_text},
      {"wordcount", word_count},
      {"default", otherwise},
      {"d", otherwise},
      {"tojson", to_json_text},
      {"int", to_integer},
      {"float", to_real},
      {"abs", magnitude},
      {"round", rounded},
  };
  const auto found = filters.find(name);
  return found == filters.end() ? find_list_filter(name) : found->second;
}

}  // namespace backlot::jinja
