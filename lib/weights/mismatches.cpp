#include "weights/mismatches.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace backlot {
namespace {

constexpr size_t listed_per_kind = 8;

// "12 missing (a [4], b [4], … and 10 more)"
void add_clause(std::vector<std::string>& clauses, std::string_view kind,
                const std::vector<std::string>& entries) {
  if (entries.empty()) return;
  const auto listed = static_cast<std::ptrdiff_t>(std::min(entries.size(), listed_per_kind));
  std::string text = fmt::format("{} {} ({}", entries.size(), kind,
                                 fmt::join(entries.begin(), entries.begin() + listed, ", "));
  if (const size_t more = entries.size() - static_cast<size_t>(listed); more > 0)
    text += fmt::format(", and {} more", more);
  clauses.push_back(text + ")");
}

}  // namespace

std::string Mismatches::text() const {
  std::vector<std::string> clauses;
  add_clause(clauses, "of another shape", misshapen);
  add_clause(clauses, "missing", missing);
  add_clause(clauses, "unused", unused);
  const size_t count = misshapen.size() + missing.size() + unused.size();
  return fmt::format("{} tensor{} not match the model: {}", count, count == 1 ? " does" : "s do",
                     fmt::join(clauses, "; "));
}

}  // namespace backlot
