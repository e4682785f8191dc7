#include "text/prompt_weights.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <unordered_map>

#include "base/text.h"

namespace backlot {
namespace {

constexpr double emphasis = 1.1;
constexpr double weight_limit = 10;

// A pair of brackets by the positions of its parts.
struct Bracket {
  size_t open;
  size_t text_end;  // where the inner text ends: at the colon of a weight, else at `close`
  size_t close;
  double weight;
};

bool is_escape(std::string_view text, size_t at) {
  return text[at] == '\\' && at + 1 < text.size() &&
         std::string_view("()[]\\").find(text[at + 1]) != std::string_view::npos;
}

std::optional<double> parse_number(std::string_view text) {
  text = trim(text);
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  if (text.find_first_not_of("-.0123456789") != std::string_view::npos) return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size() || text.empty()) return std::nullopt;
  // More digits than a double holds.
  if (error == std::errc::result_out_of_range)
    return text.starts_with('-') ? -weight_limit : weight_limit;
  if (error != std::errc()) return std::nullopt;
  return value;
}

// Finds the brackets that have a partner. A weight is only looked for after `plain_since`, the end
// of the last thing inside that is not plain text.
class BracketFinder {
 public:
  explicit BracketFinder(std::string_view text) : text_(text) {}

  std::vector<Bracket> find() {
    for (size_t at = 0; at < text_.size(); ++at) {
      const char c = text_[at];
      if (is_escape(text_, at)) {
        plain_since_ = ++at + 1;
      } else if (c == '(' || c == '[') {
        open_.push_back(at);
        ++(c == '(' ? round_ : square_);
      } else if (c == ')' && round_ > 0) {
        close('(', at);
      } else if (c == ']' && square_ > 0) {
        close('[', at);
      } else if (c == ':') {
        colon_ = at;
      }
    }
    return std::move(found_);
  }

 private:
  void close(char kind, size_t at) {
    while (text_[open_.back()] != kind) forget_last();
    const size_t open = open_.back();
    forget_last();
    Bracket bracket{open, at, at, kind == '(' ? emphasis : 1 / emphasis};
    if (kind == '(' && colon_ && *colon_ > open && *colon_ >= plain_since_) {
      if (const auto weight = parse_number(text_.substr(*colon_ + 1, at - *colon_ - 1))) {
        bracket.text_end = *colon_;
        bracket.weight = *weight;
      }
    }
    found_.push_back(bracket);
    plain_since_ = at + 1;
  }

  void forget_last() {
    --(text_[open_.back()] == '(' ? round_ : square_);
    open_.pop_back();
  }

  std::string_view text_;
  std::vector<size_t> open_;
  size_t round_ = 0, square_ = 0;  // of each kind in open_
  size_t plain_since_ = 0;
  std::optional<size_t> colon_;
  std::vector<Bracket> found_;
};

double limited(double weight) { return std::clamp(weight, -weight_limit, weight_limit); }

void append(std::vector<WeightedText>& parts, char c, double weight) {
  const auto as_float = static_cast<float>(weight);
  if (parts.empty() || parts.back().weight != as_float) parts.push_back({"", as_float});
  parts.back().text += c;
}

}  // namespace

std::vector<WeightedText> parse_weights(std::string_view prompt) {
  std::unordered_map<size_t, Bracket> by_open, by_text_end;
  for (const Bracket& bracket : BracketFinder(prompt).find()) {
    by_open.emplace(bracket.open, bracket);
    by_text_end.emplace(bracket.text_end, bracket);
  }
  std::vector<WeightedText> parts;
  std::vector<double> weights{1};
  for (size_t at = 0; at < prompt.size(); ++at) {
    if (is_escape(prompt, at)) {
      append(parts, prompt[++at], weights.back());
    } else if (const auto open = by_open.find(at); open != by_open.end()) {
      weights.push_back(limited(weights.back() * open->second.weight));
    } else if (const auto end = by_text_end.find(at); end != by_text_end.end()) {
      weights.pop_back();
      at = end->second.close;
    } else {
      append(parts, prompt[at], weights.back());
    }
  }
  return parts;
}

}  // namespace backlot
