// One job and one row of its table, as the combinations of values that it stands for.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "spec/alternatives.h"
#include "spec/spec.h"

namespace backlot {

class Expansion {
 public:
  // Throws SpecError: no prompt, axes of different lengths under zip. Keeps references to both.
  Expansion(const SpecDocument& document, const Job& job, const Row* row);

  // Combinations times count; saturates at 2^64 - 1.
  uint64_t size() const { return saturating_product(combinations_, count_); }
  uint64_t combinations() const { return combinations_; }
  uint64_t count() const { return count_; }

  // The fields of one combination, alternatives worked out; index < combinations().
  FieldValues combination(uint64_t index) const;

 private:
  // A group of alternatives in a text, or a field of the matrix.
  struct Choice {
    const Axis* axis;  // null for alternatives
    size_t text;       // which of texts_
    uint64_t size;
  };
  struct Text {
    FieldValue value;
    Alternatives alternatives;
    size_t first_choice;
    // Of a text in a scene: which one, counted from 0, and under what key.
    size_t scene = 0;
    const char* scene_key = nullptr;
  };

  Text& add_text(const SpecDocument& document, const FieldValue& value);
  void add_scenes(const SpecDocument& document, const FieldValue& scenes);
  void check_prompt(const SpecDocument& document, const Job& job, const Row* row) const;
  std::vector<uint64_t> choices_of(uint64_t index) const;

  FieldValues fields_;  // all that don't vary
  std::vector<Text> texts_;
  std::vector<Choice> choices_;
  bool zip_ = false;
  uint64_t combinations_ = 1, count_ = 1;
};

// Calls `visit` for every job and row, in order.
void for_each_expansion(const SpecDocument& document,
                        const std::function<void(const Job&, const Expansion&)>& visit);

}  // namespace backlot
