#include "text/jinja/list_filters.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/utf8.h"
#include "text/jinja/text_functions.h"

namespace backlot::jinja {
namespace {

// What an attribute's path, "a.b.0" or a number, leads to.
Value value_at(Interpreter& interpreter, const Value& item, const Value& path) {
  if (!path.is_text()) return interpreter.item_of(item, path);
  Value value = item;
  for (const auto& part : split(path.text(), ".", -1, Side::left)) {
    int64_t index = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), index);
    const bool is_index = error == std::errc() && end == part.data() + part.size();
    value = interpreter.item_of(value, is_index ? Value::of(index) : Value::of(part));
  }
  return value;
}

// What a filter compares of an item: an attribute if one is given, in lower case if that is wanted.
Value key_of(Interpreter& interpreter, const Value& item, const Value* attribute,
             bool case_sensitive) {
  const bool whole = !attribute || attribute->is_none();
  Value key = whole ? item : value_at(interpreter, item, *attribute);
  return key.is_text() && !case_sensitive ? interpreter.text(lower(key.text())) : key;
}

Arguments without_first(const Arguments& arguments, size_t count) {
  Arguments rest = arguments;
  rest.positional.erase(rest.positional.begin(),
                        rest.positional.begin() + static_cast<int64_t>(count));
  return rest;
}

Value length(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters none(arguments, "length", {});
  if (self.is_dict()) return Value::of(static_cast<int64_t>(self.entries().size()));
  if (self.is_sequence()) return Value::of(static_cast<int64_t>(self.items().size()));
  if (self.is_undefined()) return Value::of(int64_t{0});
  if (!self.is_text()) throw Error(fmt::format("a {} has no length", self.type()));
  interpreter.budget().spend(self.text().size());
  return Value::of(static_cast<int64_t>(decode_utf8(self.text()).size()));
}

Value join(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "join", {"d", "attribute"});
  const std::string between = given.has(0) ? to_text(given.at(0), interpreter.budget()) : "";
  std::string joined;
  bool first = true;
  for (const Value& item : interpreter.items_of(self)) {
    if (!std::exchange(first, false)) joined += between;
    const bool whole = !given.has(1) || given.at(1).is_none();
    joined +=
        to_text(whole ? item : value_at(interpreter, item, given.at(1)), interpreter.budget());
    interpreter.budget().spend(between.size());
  }
  return interpreter.text(std::move(joined));
}

template <bool from_end>
Value end_item(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters none(arguments, "first or last", {});
  const List items = interpreter.items_of(self);
  if (items.empty()) return Value::undefined("there is no item in an empty list");
  return from_end ? items.back() : items.front();
}

Value list(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters none(arguments, "list", {});
  return interpreter.list(interpreter.items_of(self));
}

Value items(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters none(arguments, "items", {});
  if (self.is_undefined()) return Value::list({});
  return find_dict_method("items")(interpreter, Value::dict(self.entries()), {});
}

Value reverse(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters none(arguments, "reverse", {});
  List reversed = interpreter.items_of(self);
  std::reverse(reversed.begin(), reversed.end());
  if (!self.is_text()) return interpreter.list(std::move(reversed));
  std::string text;
  for (const Value& character : reversed) text += character.text();
  return interpreter.text(std::move(text));
}

// Items in the order of their keys; equal ones stay as they are, also in reverse.
List sorted(Interpreter& interpreter, List values, const std::vector<Value>& keys, bool reversed) {
  std::vector<size_t> order(values.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    if (reversed) std::swap(a, b);
    return compare(keys[a], keys[b], interpreter.budget()) < 0;
  });
  List result;
  for (const size_t i : order) result.push_back(values[i]);
  return result;
}

Value sort(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "sort", {"reverse", "case_sensitive", "attribute"});
  List values = interpreter.items_of(self);
  std::vector<Value> keys;
  for (const Value& value : values)
    keys.push_back(
        key_of(interpreter, value, given.has(2) ? &given.at(2) : nullptr, given.truth(1)));
  return interpreter.list(sorted(interpreter, std::move(values), keys, given.truth(0)));
}

Value sort_dict(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "dictsort", {"case_sensitive", "by", "reverse"});
  const std::string by = given.text(1, "key");
  if (by != "key" && by != "value") throw Error("dictsort: by is 'key' or 'value'");
  List pairs;
  std::vector<Value> keys;
  for (const auto& [key, value] : self.entries()) {
    pairs.push_back(interpreter.tuple({Value::of(key), value}));
    keys.push_back(
        key_of(interpreter, by == "key" ? Value::of(key) : value, nullptr, given.truth(0)));
  }
  return interpreter.list(sorted(interpreter, std::move(pairs), keys, given.truth(2)));
}

Value unique(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "unique", {"case_sensitive", "attribute"});
  List kept, keys;
  for (const Value& item : interpreter.items_of(self)) {
    Value key = key_of(interpreter, item, given.has(1) ? &given.at(1) : nullptr, given.truth(0));
    const auto same = [&](const Value& other) { return equal(key, other, interpreter.budget()); };
    if (std::any_of(keys.begin(), keys.end(), same)) continue;
    keys.push_back(std::move(key));
    kept.push_back(item);
  }
  return interpreter.list(std::move(kept));
}

template <bool wants_greatest>
Value extreme(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "min or max", {"case_sensitive", "attribute"});
  std::optional<Value> best, best_key;
  for (const Value& item : interpreter.items_of(self)) {
    Value key = key_of(interpreter, item, given.has(1) ? &given.at(1) : nullptr, given.truth(0));
    const int order = best ? compare(key, *best_key, interpreter.budget()) : 0;
    if (best && (wants_greatest ? order <= 0 : order >= 0)) continue;
    best = item;
    best_key = std::move(key);
  }
  return best.value_or(Value::undefined("there is no item in an empty list"));
}

Value sum(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given(arguments, "sum", {"attribute", "start"});
  Value total = given.has(1) ? given.at(1) : Value::of(int64_t{0});
  for (const Value& item : interpreter.items_of(self)) {
    const bool whole = !given.has(0) || given.at(0).is_none();
    total = arithmetic(interpreter, "+", total,
                       whole ? item : value_at(interpreter, item, given.at(0)));
  }
  return total;
}

Value map(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  List mapped;
  if (arguments.positional.empty()) {
    const Parameters given(arguments, "map", {"attribute", "default"});
    for (const Value& item : interpreter.items_of(self)) {
      Value value = value_at(interpreter, item, given.at(0));
      mapped.push_back(value.is_undefined() && given.has(1) ? given.at(1) : std::move(value));
    }
    return interpreter.list(std::move(mapped));
  }
  const std::string& filter = arguments.positional[0].text();
  const Arguments rest = without_first(arguments, 1);
  for (const Value& item : interpreter.items_of(self))
    mapped.push_back(interpreter.apply_filter(filter, item, rest));
  return interpreter.list(std::move(mapped));
}

enum class Of { items, attributes };

// Items for which a test, or without one the item or its attribute, is true or is not.
template <Of of, bool wanted>
Value select(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const size_t before_test = of == Of::attributes ? 1 : 0;
  if (arguments.positional.size() < before_test) throw Error("an attribute is missing");
  const bool has_test = arguments.positional.size() > before_test;
  const std::string test = has_test ? arguments.positional[before_test].text() : "";
  const Arguments rest = without_first(arguments, before_test + has_test);
  List kept;
  for (const Value& item : interpreter.items_of(self)) {
    const Value value =
        of == Of::attributes ? value_at(interpreter, item, arguments.positional[0]) : item;
    const bool holds = has_test ? interpreter.apply_test(test, value, rest) : value.truth();
    if (holds == wanted) kept.push_back(item);
  }
  return interpreter.list(std::move(kept));
}

}  // namespace

Native find_list_filter(std::string_view name) {
  static const std::map<std::string_view, Native> filters = {
      {"length", length},
      {"count", length},
      {"join", join},
      {"first", end_item<false>},
      {"last", end_item<true>},
      {"list", list},
      {"items", items},
      {"reverse", reverse},
      {"sort", sort},
      {"dictsort", sort_dict},
      {"unique", unique},
      {"min", extreme<false>},
      {"max", extreme<true>},
      {"sum", sum},
      {"map", map},
      {"select", select<Of::items, true>},
      {"reject", select<Of::items, false>},
      {"selectattr", select<Of::attributes, true>},
      {"rejectattr", select<Of::attributes, false>},
  };
  const auto found = filters.find(name);
  return found == filters.end() ? nullptr : found->second;
}

}  // namespace backlot::jinja
