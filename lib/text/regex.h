// Unicode regular expressions for the splitting patterns of tokenizers (PCRE2, compiled).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace backlot {

// Immutable, cheap to copy, safe to use from several threads. Text must be well-formed UTF-8 (see
// decode_utf8), and results point into it.
class Regex {
 public:
  // Throws std::invalid_argument if the pattern is wrong.
  explicit Regex(const std::string& pattern);

  // What matches, from left to right.
  std::vector<std::string_view> find_all(std::string_view text) const;

  // The whole text cut into what matches and what lies between.
  std::vector<std::string_view> split(std::string_view text) const;

  // Whether the pattern matches somewhere.
  bool found_in(std::string_view text) const;

 private:
  template <typename Visit>
  void each_match(std::string_view text, Visit visit) const;

  std::shared_ptr<const void> code_;  // a pcre2_code
};

}  // namespace backlot
