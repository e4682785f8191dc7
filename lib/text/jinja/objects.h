// What a template can hold beside plain data.
#pragma once

#include <optional>
#include <string>

#include "text/jinja/interpreter.h"

namespace backlot::jinja {

// namespace(): attributes that inner blocks can set.
class NamespaceObject : public Object {
 public:
  std::string type() const override { return "namespace"; }
  Value attribute(const std::string& name) const override;
  // Throws Error for what is no plain data: a namespace in itself would never be freed.
  void set(const std::string& name, const Value& value);

 private:
  Entries attributes_;
};

// `loop` inside of for.
class LoopObject : public Object {
 public:
  explicit LoopObject(List items) : items_(std::move(items)) {}
  std::string type() const override { return "loop"; }
  Value attribute(const std::string& name) const override;

  // Whether the arguments differ from those of the call before.
  bool changed(const List& values, Budget& budget);
  size_t index = 0;

 private:
  List items_;
  std::optional<List> last_seen_;
};

}  // namespace backlot::jinja
