#include "spec/alternatives.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace backlot {
namespace {

constexpr uint64_t most = std::numeric_limits<uint64_t>::max();
constexpr size_t max_nesting = 64;
constexpr std::string_view special = "{|}";

}  // namespace

uint64_t saturating_product(uint64_t a, uint64_t b) {
  uint64_t out;
  return __builtin_mul_overflow(a, b, &out) ? most : out;
}

uint64_t saturating_sum(uint64_t a, uint64_t b) {
  uint64_t out;
  return __builtin_add_overflow(a, b, &out) ? most : out;
}

void Alternatives::Part::append(uint64_t index, std::string& out) const {
  if (choices.empty()) {
    out += literal;
    return;
  }
  const auto at = std::ranges::upper_bound(ends, index) - ends.begin();
  choices[at].append(at == 0 ? index : index - ends[at - 1], out);
}

void Alternatives::Sequence::append(uint64_t index, std::string& out) const {
  std::vector<uint64_t> digits(parts.size());
  for (size_t i = parts.size(); i-- > 0;) {
    digits[i] = index % parts[i].count();
    index /= parts[i].count();
  }
  for (size_t i = 0; i < parts.size(); ++i) parts[i].append(digits[i], out);
}

Alternatives::Alternatives(std::string_view text) {
  std::string_view rest = text;
  whole_ = parse(rest, 0);
  for (const auto& part : whole_.parts)
    if (!part.choices.empty()) groups_.push_back(part.count());
}

// Reads up to the end, or inside a group up to the bar or brace that ends the choice.
Alternatives::Sequence Alternatives::parse(std::string_view& rest, size_t depth) {
  if (depth > max_nesting)
    throw Problem{fmt::format("nests braces more than {} deep", max_nesting), "use fewer"};
  Sequence sequence;
  std::string literal;
  const auto end_literal = [&] {
    if (!literal.empty()) sequence.parts.push_back({.literal = std::move(literal)});
    literal.clear();
  };
  while (!rest.empty()) {
    const char c = rest.front();
    if (c == '\\' && rest.size() > 1 && special.find(rest[1]) != std::string_view::npos) {
      literal += rest[1];
      rest.remove_prefix(2);
    } else if (c == '{') {
      end_literal();
      sequence.parts.push_back(parse_group(rest, depth));
      sequence.count = saturating_product(sequence.count, sequence.parts.back().count());
    } else if (depth > 0 && (c == '|' || c == '}')) {
      break;
    } else if (c == '}') {
      throw Problem{"has a '}' without its '{'", "open it, or write \\} for the character"};
    } else {
      literal += c;
      rest.remove_prefix(1);
    }
  }
  end_literal();
  return sequence;
}

Alternatives::Part Alternatives::parse_group(std::string_view& rest, size_t depth) {
  Part group;
  do {
    rest.remove_prefix(1);  // the opening brace, or a bar
    group.choices.push_back(parse(rest, depth + 1));
    group.ends.push_back(
        saturating_sum(group.count() * !group.ends.empty(), group.choices.back().count));
  } while (!rest.empty() && rest.front() == '|');
  if (rest.empty())
    throw Problem{"has a '{' without its '}'", "close it, or write \\{ for the character"};
  rest.remove_prefix(1);
  return group;
}

std::string Alternatives::text(std::span<const uint64_t> choices) const {
  std::string out;
  size_t group = 0;
  for (const auto& part : whole_.parts)
    part.append(part.choices.empty() ? 0 : choices[group++], out);
  return out;
}

std::string Alternatives::text(uint64_t index) const {
  std::string out;
  whole_.append(index, out);
  return out;
}

std::string escape_alternatives(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (special.find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace backlot
