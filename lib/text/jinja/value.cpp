#include "text/jinja/value.h"

#include <fmt/format.h>

#include <algorithm>

namespace backlot::jinja {
namespace {

constexpr int deepest = 100;  // values inside values

int checked_depth(int depth) {
  if (depth > deepest) throw Error("values are nested too deep");
  return depth;
}

}  // namespace

Value Object::attribute(const std::string& name) const {
  return Value::undefined(fmt::format("'{}' has no attribute '{}'", type(), name));
}

Value Object::call(Interpreter&, const Arguments&) const {
  throw Error(fmt::format("a {} can't be called", type()));
}

Value Value::undefined(std::string what) {
  Value value;
  value.data_ = Undefined{std::move(what)};
  return value;
}

Value Value::none() {
  Value value;
  value.data_ = None{};
  return value;
}

Value Value::of(bool b) {
  Value value;
  value.data_ = b;
  return value;
}

Value Value::of(int64_t i) {
  Value value;
  value.data_ = i;
  return value;
}

Value Value::of(double d) {
  Value value;
  value.data_ = d;
  return value;
}

Value Value::of(std::string text) {
  Value value;
  value.data_ = std::make_shared<const std::string>(std::move(text));
  return value;
}

Value Value::of(std::shared_ptr<Object> object) {
  Value value;
  value.data_ = std::move(object);
  return value;
}

Value Value::sequence(List items, bool tuple) {
  int depth = 0;
  bool objects = false;
  for (const Value& item : items) {
    depth = std::max(depth, item.depth());
    objects |= item.has_objects();
  }
  Value value;
  value.data_ = std::make_shared<const SequenceData>(
      SequenceData{std::move(items), checked_depth(depth + 1), objects, tuple});
  return value;
}

Value Value::list(List items) { return sequence(std::move(items), false); }
Value Value::tuple(List items) { return sequence(std::move(items), true); }

Value Value::dict(Entries entries) {
  int depth = 0;
  bool objects = false;
  for (const auto& [key, item] : entries) {
    depth = std::max(depth, item.depth());
    objects |= item.has_objects();
  }
  Value value;
  value.data_ = std::make_shared<const DictData>(
      DictData{std::move(entries), checked_depth(depth + 1), objects});
  return value;
}

Value Value::from_json(const Json& json) {
  switch (json.type()) {
    case Json::value_t::null:
      return none();
    case Json::value_t::boolean:
      return of(json.get<bool>());
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      return of(json.get<int64_t>());
    case Json::value_t::number_float:
      return of(json.get<double>());
    case Json::value_t::string:
      return of(json.get<std::string>());
    case Json::value_t::array: {
      List items;
      for (const auto& item : json) items.push_back(from_json(item));
      return list(std::move(items));
    }
    case Json::value_t::object: {
      Entries entries;
      for (const auto& [key, item] : json.items()) entries.emplace_back(key, from_json(item));
      return dict(std::move(entries));
    }
    default:
      throw Error("a value is binary");
  }
}

bool Value::is_tuple() const { return is_sequence() && std::get<Sequence>(data_)->tuple; }

int Value::depth() const {
  if (is_sequence()) return std::get<Sequence>(data_)->depth;
  return is_dict() ? std::get<Dict>(data_)->depth : 0;
}

bool Value::has_objects() const {
  if (is_sequence()) return std::get<Sequence>(data_)->has_objects;
  return is_dict() ? std::get<Dict>(data_)->has_objects : is_object();
}

void Value::not_a(const char* expected) const {
  if (is_undefined()) throw Error(std::get<Undefined>(data_).what);
  throw Error(fmt::format("a {} stands where {} belongs", type(), expected));
}

int64_t Value::integer() const {
  if (is_boolean()) return std::get<bool>(data_);
  if (!is_integer()) not_a("a whole number");
  return std::get<int64_t>(data_);
}

double Value::real() const {
  if (is_real()) return std::get<double>(data_);
  if (!is_number()) not_a("a number");
  return static_cast<double>(integer());
}

const std::string& Value::text() const {
  if (!is_text()) not_a("a text");
  return *std::get<Text>(data_);
}

const List& Value::items() const {
  if (!is_sequence()) not_a("a list");
  return std::get<Sequence>(data_)->items;
}

const Entries& Value::entries() const {
  if (!is_dict()) not_a("a dict");
  return std::get<Dict>(data_)->entries;
}

Object& Value::object() const {
  if (!is_object()) not_a("something that can be called");
  return *std::get<std::shared_ptr<Object>>(data_);
}

bool Value::truth() const {
  if (is_undefined() || is_none()) return false;
  if (is_real()) return real() != 0;
  if (is_number()) return integer() != 0;
  if (is_text()) return !text().empty();
  if (is_sequence()) return !items().empty();
  return is_dict() ? !entries().empty() : true;
}

std::string Value::type() const {
  if (is_undefined()) return "undefined";
  if (is_none()) return "NoneType";
  if (is_boolean()) return "bool";
  if (is_integer()) return "int";
  if (is_real()) return "float";
  if (is_text()) return "str";
  if (is_sequence()) return is_tuple() ? "tuple" : "list";
  return is_dict() ? "dict" : object().type();
}

const Value* Value::find(const std::string& key) const {
  for (const auto& [name, value] : entries())
    if (name == key) return &value;
  return nullptr;
}

bool equal(const Value& a, const Value& b, Budget& budget) {
  budget.spend(16);
  if (a.is_undefined() || a.is_none()) return a.type() == b.type();
  if (a.is_number() && b.is_number()) {
    if (a.is_real() || b.is_real()) return a.real() == b.real();
    return a.integer() == b.integer();
  }
  if (a.is_text() && b.is_text()) {
    budget.spend(std::min(a.text().size(), b.text().size()));
    return a.text() == b.text();
  }
  if (a.is_sequence() && b.is_sequence()) {
    const auto same = [&](const Value& x, const Value& y) { return equal(x, y, budget); };
    return a.is_tuple() == b.is_tuple() &&
           std::equal(a.items().begin(), a.items().end(), b.items().begin(), b.items().end(), same);
  }
  if (a.is_dict() && b.is_dict()) {
    if (a.entries().size() != b.entries().size()) return false;
    for (const auto& [key, value] : a.entries()) {
      budget.spend(b.entries().size());
      const Value* other = b.find(key);
      if (!other || !equal(value, *other, budget)) return false;
    }
    return true;
  }
  return a.is_object() && b.is_object() && &a.object() == &b.object();
}

int compare(const Value& a, const Value& b, Budget& budget) {
  budget.spend(16);
  if (a.is_number() && b.is_number()) {
    if (a.is_real() || b.is_real()) return a.real() < b.real() ? -1 : a.real() > b.real();
    return a.integer() < b.integer() ? -1 : a.integer() > b.integer();
  }
  if (a.is_text() && b.is_text()) {
    budget.spend(std::min(a.text().size(), b.text().size()));
    return a.text().compare(b.text());  // bytes of UTF-8 are in the order of code points
  }
  if (a.is_sequence() && b.is_sequence() && a.is_tuple() == b.is_tuple()) {
    const List &x = a.items(), &y = b.items();
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i)
      if (!equal(x[i], y[i], budget)) return compare(x[i], y[i], budget);
    return x.size() < y.size() ? -1 : x.size() > y.size();
  }
  for (const Value* value : {&a, &b})
    if (value->is_undefined()) value->text();  // which says what is undefined
  throw Error(fmt::format("a {} and a {} can't be ordered", a.type(), b.type()));
}

bool contains(const Value& container, const Value& item, Budget& budget) {
  if (container.is_undefined()) return false;
  if (container.is_text()) {
    budget.spend(container.text().size());
    return container.text().find(item.text()) != std::string::npos;
  }
  if (container.is_dict()) {
    budget.spend(container.entries().size());
    return item.is_text() && container.find(item.text());
  }
  const List& items = container.items();
  return std::any_of(items.begin(), items.end(),
                     [&](const Value& value) { return equal(value, item, budget); });
}

}  // namespace backlot::jinja
