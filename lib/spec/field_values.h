// Values of some of a job's fields, each with the place where it was given.
#pragma once

#include <algorithm>
#include <vector>

#include "spec/fields.h"
#include "spec/tree.h"

namespace backlot {

struct FieldValue {
  const Field* field = nullptr;
  Json value;  // checked; null stands for absence that overrides a default
  Mark mark;
  std::vector<Value> entries = {};  // of scenes, as they were written, where that is known
};

// A few entries, looked up linearly: there are some two dozen fields.
class FieldValues {
 public:
  const FieldValue* find(const Field* field) const {
    const auto found = std::ranges::find(entries_, field, &FieldValue::field);
    return found == entries_.end() ? nullptr : &*found;
  }
  const FieldValue* find(std::string_view name) const { return find(find_field(name)); }

  void set(FieldValue value) {
    const auto found = std::ranges::find(entries_, value.field, &FieldValue::field);
    if (found == entries_.end())
      entries_.push_back(std::move(value));
    else
      *found = std::move(value);
  }
  void set_all(const FieldValues& others) {
    for (const auto& value : others.entries_) set(value);
  }

  auto begin() const { return entries_.begin(); }
  auto end() const { return entries_.end(); }
  bool empty() const { return entries_.empty(); }

 private:
  std::vector<FieldValue> entries_;
};

}  // namespace backlot
