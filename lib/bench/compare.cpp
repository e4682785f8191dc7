#include "bench/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace backlot {
namespace {

constexpr double noise_factor = 2;

Verdict judge(const Summary& before, const Summary& now, double threshold) {
  const double rise = now.median - before.median;
  if (std::abs(rise) <= threshold * before.median) return Verdict::same;
  if (std::abs(rise) <= noise_factor * std::hypot(before.deviation(), now.deviation()))
    return Verdict::noisy;
  return rise > 0 ? Verdict::slower : Verdict::faster;
}

// The kernel takes a little more or less of the memory at each start.
bool alike(const Json& a, const Json& b) {
  if (a.is_number() && b.is_number())
    return std::abs(a.get<double>() - b.get<double>()) <= 0.02 * std::abs(b.get<double>());
  return a == b;
}

// Facts without which two runs' seconds say little about the code.
std::vector<std::string> differences(const Json& before, const Json& now) {
  std::vector<std::string> out;
  for (const auto* fact : {"cpu", "cpu_features", "processors", "memory_bytes", "cpu_quota", "gpus",
                           "driver", "libtorch", "threads"}) {
    const Json a = before.value(fact, Json()), b = now.value(fact, Json());
    if (!alike(a, b)) out.push_back(fmt::format("{}: {}, was {}", fact, b.dump(), a.dump()));
  }
  return out;
}

const BenchCase* find(const BenchResults& results, const std::string& name) {
  const auto found = std::ranges::find(results.cases, name, &BenchCase::name);
  return found != results.cases.end() && !found->seconds.empty() ? &*found : nullptr;
}

}  // namespace

std::string_view verdict_name(Verdict verdict) {
  constexpr std::array<std::string_view, 6> names = {"same",  "faster", "SLOWER",
                                                     "noisy", "new",    "gone"};
  return names[static_cast<size_t>(verdict)];
}

bool Comparison::regressed() const {
  return std::ranges::any_of(cases, [](const auto& c) { return c.verdict == Verdict::slower; });
}

Comparison compare(const BenchResults& before, const BenchResults& now, double threshold,
                   const std::function<bool(const BenchCase&)>& expected) {
  Comparison out{.threshold = threshold};
  for (const auto& each : now.cases) {
    if (each.seconds.empty()) continue;
    CaseComparison one{.name = each.name, .verdict = Verdict::added, .now = each.summary()};
    if (const BenchCase* earlier = find(before, each.name)) {
      one.before = earlier->summary();
      one.verdict = judge(one.before, one.now, threshold);
    }
    out.cases.push_back(std::move(one));
  }
  for (const auto& each : before.cases)
    if (!each.seconds.empty() && !find(now, each.name) && expected(each))
      out.cases.push_back({.name = each.name, .verdict = Verdict::gone, .before = each.summary()});
  out.differing_facts = differences(before.machine, now.machine);
  return out;
}

}  // namespace backlot
