#include "text/jinja/objects.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace backlot::jinja {
namespace {

class BoundObject : public Object {
 public:
  BoundObject(std::string name, Native function, Value self)
      : name_(std::move(name)), function_(function), self_(std::move(self)) {}
  std::string type() const override { return "function"; }
  bool callable() const override { return true; }
  Value call(Interpreter& interpreter, const Arguments& arguments) const override {
    return function_(interpreter, self_, arguments);
  }

 private:
  std::string name_;
  Native function_;
  Value self_;
};

// A method of a loop, which is there as long as what its body can reach.
class LoopMethod : public Object {
 public:
  enum class Kind { cycle, changed };
  LoopMethod(LoopObject& loop, Kind kind) : loop_(loop), kind_(kind) {}
  std::string type() const override { return "function"; }
  bool callable() const override { return true; }
  Value call(Interpreter& interpreter, const Arguments& arguments) const override {
    if (!arguments.named.empty()) throw Error("loop's functions take no names");
    const List& values = arguments.positional;
    if (kind_ == Kind::changed) return Value::of(loop_.changed(values, interpreter.budget()));
    if (values.empty()) throw Error("loop.cycle() needs values");
    return values[loop_.index % values.size()];
  }

 private:
  LoopObject& loop_;
  Kind kind_;
};

Value range_of(Interpreter& interpreter, const Value&, const Arguments& arguments) {
  const Parameters given(arguments, "range", {"start", "stop", "step"});
  constexpr int64_t most = 100000;  // as in Jinja2's sandbox
  const int64_t first = given.at(0).integer();
  const int64_t begin = given.has(1) ? first : 0;
  const int64_t end = given.has(1) ? given.at(1).integer() : first;
  const int64_t step = given.integer(2, 1);
  if (step == 0) throw Error("range() with a step of 0");
  List items;
  for (int64_t i = begin; step > 0 ? i < end : i > end;) {
    if (static_cast<int64_t>(items.size()) == most) throw Error("range() of more than 100000");
    items.push_back(Value::of(i));
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return interpreter.list(std::move(items));
}

Entries entries_from(const Arguments& arguments, const char* who) {
  Entries entries;
  if (arguments.positional.size() > 1) throw Error(fmt::format("{} takes one dict", who));
  if (!arguments.positional.empty()) entries = arguments.positional[0].entries();
  for (const auto& [name, value] : arguments.named) {
    const auto found = std::find_if(entries.begin(), entries.end(),
                                    [&](const auto& entry) { return entry.first == name; });
    if (found == entries.end())
      entries.emplace_back(name, value);
    else
      found->second = value;
  }
  return entries;
}

Value make_namespace(Interpreter&, const Value&, const Arguments& arguments) {
  const auto space = std::make_shared<NamespaceObject>();
  for (const auto& [name, value] : entries_from(arguments, "namespace()")) space->set(name, value);
  return Value::of(space);
}

Value make_dict(Interpreter&, const Value&, const Arguments& arguments) {
  return Value::dict(entries_from(arguments, "dict()"));
}

Value raise(Interpreter& interpreter, const Value&, const Arguments& arguments) {
  const Parameters given(arguments, "raise_exception", {"message"});
  throw Raised{to_text(given.at(0), interpreter.budget())};
}

Value time_now(Interpreter& interpreter, const Value&, const Arguments& arguments) {
  const Parameters given(arguments, "strftime_now", {"format"});
  const std::string& format = given.at(0).text();
  constexpr size_t longest = 200;
  if (format.size() > longest) throw Error("strftime_now() with a format that is too long");
  if (format.empty()) return Value::of(std::string());
  std::tm local{};
  const std::time_t now = interpreter.now();
  localtime_r(&now, &local);
  std::array<char, 8192> buffer;
  const size_t length = std::strftime(buffer.data(), buffer.size(), format.c_str(), &local);
  return interpreter.text(std::string(buffer.data(), length));
}

}  // namespace

Value bound(std::string name, Native function, Value self) {
  return Value::of(std::make_shared<BoundObject>(std::move(name), function, std::move(self)));
}

Entries globals() {
  Entries result;
  const auto add = [&](const char* name, Native function) {
    result.emplace_back(name, bound(name, function, Value::none()));
  };
  add("range", range_of);
  add("namespace", make_namespace);
  add("dict", make_dict);
  add("raise_exception", raise);
  add("strftime_now", time_now);
  return result;
}

Value NamespaceObject::attribute(const std::string& name) const {
  for (const auto& [key, value] : attributes_)
    if (key == name) return value;
  return Object::attribute(name);
}

void NamespaceObject::set(const std::string& name, const Value& value) {
  if (name.starts_with('_')) throw Error("a namespace's names can't begin with _");
  if (value.has_objects())
    throw Error(fmt::format("a {} can't be kept in a namespace", value.type()));
  for (auto& [key, kept] : attributes_) {
    if (key != name) continue;
    kept = value;
    return;
  }
  attributes_.emplace_back(name, value);
}

Value LoopObject::attribute(const std::string& name) const {
  const auto number = [](size_t n) { return Value::of(static_cast<int64_t>(n)); };
  const size_t length = items_.size();
  if (name == "index") return number(index + 1);
  if (name == "index0") return number(index);
  if (name == "revindex") return number(length - index);
  if (name == "revindex0") return number(length - index - 1);
  if (name == "first") return Value::of(index == 0);
  if (name == "last") return Value::of(index + 1 == length);
  if (name == "length") return number(length);
  if (name == "depth") return number(1);
  if (name == "depth0") return number(0);
  if (name == "previtem")
    return index > 0 ? items_[index - 1] : Value::undefined("there is no previous item");
  if (name == "nextitem")
    return index + 1 < length ? items_[index + 1] : Value::undefined("there is no next item");
  auto& self = const_cast<LoopObject&>(*this);
  if (name == "cycle")
    return Value::of(std::make_shared<LoopMethod>(self, LoopMethod::Kind::cycle));
  if (name == "changed")
    return Value::of(std::make_shared<LoopMethod>(self, LoopMethod::Kind::changed));
  return Object::attribute(name);
}

bool LoopObject::changed(const List& values, Budget& budget) {
  for (const Value& value : values)
    if (value.has_objects()) throw Error("loop.changed() takes plain data only");
  const auto same = [&](const Value& a, const Value& b) { return equal(a, b, budget); };
  if (last_seen_ &&
      std::equal(values.begin(), values.end(), last_seen_->begin(), last_seen_->end(), same))
    return false;
  last_seen_ = values;
  return true;
}

}  // namespace backlot::jinja
