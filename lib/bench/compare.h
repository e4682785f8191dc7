// A benchmark against an earlier one.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bench/results.h"

namespace backlot {

enum class Verdict {
  same,    // within the threshold
  faster,  // by more than the threshold, and by more than the noise
  slower,  // the same the other way: a regression
  noisy,   // beyond the threshold, but not beyond the noise: measure again, with more repeats
  added,   // not in the baseline, or failed there
  gone,    // only in the baseline, or failed now
};

std::string_view verdict_name(Verdict verdict);

struct CaseComparison {
  std::string name;
  Verdict verdict = Verdict::same;
  Summary before, now;
  double change() const { return before.median > 0 ? now.median / before.median - 1 : 0; }
};

struct Comparison {
  std::vector<CaseComparison> cases;
  std::vector<std::string> differing_facts;  // "cpu: A, was B"
  double threshold = 0.1;

  bool regressed() const;
};

// Medians are compared. A change counts when it is larger than `threshold` (0.1: ten percent of the
// earlier median) and larger than twice the noise, which is the root of the sum of both runs'
// squared deviations (1.4826 times the median absolute deviation). `expected` says of a name that
// only the baseline has whether this run should have had it.
Comparison compare(const BenchResults& before, const BenchResults& now, double threshold,
                   const std::function<bool(const BenchCase&)>& expected);

}  // namespace backlot
