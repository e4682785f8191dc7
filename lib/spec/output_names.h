// Names of output files, from a template and an item's values; never from raw text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "spec/problem.h"

namespace backlot {

// What a template's fields stand for.
struct NameValues {
  int64_t index = 0;
  std::string prompt;  // {slug}
  uint64_t seed = 0;
  std::string id;   // {id}: its first 12 characters
  std::string job;  // {job}
  int64_t width = 0, height = 0, steps = 0;
};

// "{index:05}-{slug}-{seed}": numbers may carry a width (":05"), '/' makes folders.
class OutputNames {
 public:
  // `extension` with its dot; `run_name` is what {name} stands for. Throws Problem: an unknown
  // field, a brace left open, a part that would leave the run folder, be hidden or hold control
  // characters.
  OutputNames(std::string_view name_template, std::string run_name, std::string extension);

  // A relative path of safe components of at most 200 bytes, different from all those given out
  // before even where upper and lower case are one: a repeated name gets "-2", "-3", …
  std::string next(const NameValues& values);

 private:
  struct Piece {
    std::string literal;
    std::string field;  // "" for a literal
    int width = 0;
  };
  std::string value_of(const Piece& piece, const NameValues& values) const;

  std::vector<Piece> pieces_;
  std::string run_name_, extension_;
  std::unordered_map<std::string, uint64_t> taken_;  // in lower case -> last suffix
};

// `text` as a path component of at most `max_bytes` of [A-Za-z0-9._-]: no leading dot or dash,
// never empty.
std::string safe_component(std::string_view text, size_t max_bytes = 60);

// Whether `name` can be a folder's name as it stands: one component, not hidden, no control
// characters or backslashes, at most 200 bytes. Throws Problem if not.
void check_component(std::string_view name);

}  // namespace backlot
