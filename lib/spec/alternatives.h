// Alternatives in prompts: "a {red|green} {apple|{ripe |}pear}" stands for several texts.
//
// Braces may be nested. `\{`, `\|` and `\}` stand for the characters themselves; any other
// backslash is kept. A bar outside braces is a bar.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "spec/problem.h"

namespace backlot {

class Alternatives {
 public:
  // Throws Problem: a brace without its partner, or braces nested more than 64 deep.
  explicit Alternatives(std::string_view text);

  // How many texts each outermost group stands for, in reading order; saturates at 2^64 - 1.
  const std::vector<uint64_t>& groups() const { return groups_; }
  uint64_t count() const { return whole_.count; }  // the product; 1 without groups

  // The text with the given choice, from 0, for each group.
  std::string text(std::span<const uint64_t> choices) const;

  // The `index`th of all count() texts; the last group varies fastest.
  std::string text(uint64_t index) const;

 private:
  struct Sequence;
  // Literal text, or a group of choices. `ends[i]` counts the texts of the choices up to and
  // including the ith, so that a text is found by bisection.
  struct Part {
    std::string literal;
    std::vector<Sequence> choices;
    std::vector<uint64_t> ends;
    uint64_t count() const { return ends.empty() ? 1 : ends.back(); }
    void append(uint64_t index, std::string& out) const;
  };
  struct Sequence {
    std::vector<Part> parts;
    uint64_t count = 1;
    void append(uint64_t index, std::string& out) const;
  };

  static Sequence parse(std::string_view& rest, size_t depth);
  static Part parse_group(std::string_view& rest, size_t depth);

  Sequence whole_;
  std::vector<uint64_t> groups_;
};

// `text` written so that it stands for itself alone.
std::string escape_alternatives(std::string_view text);

// a * b, or 2^64 - 1 if that does not fit.
uint64_t saturating_product(uint64_t a, uint64_t b);
uint64_t saturating_sum(uint64_t a, uint64_t b);

}  // namespace backlot
