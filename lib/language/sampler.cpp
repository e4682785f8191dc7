#include "language/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "language/philox.h"

namespace backlot {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

// e^x for x of at most 0, within 2 units in the last place; 0 below -87. Without branches and
// calls, so that loops over it are vectorised (Cephes' polynomial).
inline float exp_of(float x) {
  const float clamped = x > -87.0f ? x : -87.0f;
  // The magic number rounds to a whole number by pushing the fraction out of the mantissa.
  constexpr float magic = 12582912.0f;
  const float whole = (clamped * 1.44269504f + magic) - magic;
  const float r = (clamped - whole * 0.693359375f) + whole * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const float e = p * std::bit_cast<float>((static_cast<int32_t>(whole) + 127) << 23);
  return x < -87.0f ? 0.0f : e;
}

// Sums of this many side by side let the compiler add without changing the order of additions.
constexpr size_t lanes = 16;

// The largest; NaN if one is NaN.
float largest_of(std::span<const float> logits) {
  float best[lanes];
  int nan = 0;
  std::fill_n(best, lanes, -infinity);
  for (const float x : logits) nan |= x != x;
  size_t i = 0;
  for (; i + lanes <= logits.size(); i += lanes)
    for (size_t j = 0; j < lanes; ++j) best[j] = logits[i + j] > best[j] ? logits[i + j] : best[j];
  for (; i < logits.size(); ++i) best[0] = std::max(best[0], logits[i]);
  return nan ? std::nanf("") : *std::max_element(best, best + lanes);
}

// The sum of e^((x - largest) / temperature).
double sum_of_weights(std::span<const float> logits, float largest, float scale) {
  constexpr size_t stretch = 4096;  // added in float, then in double
  double sum = 0.0;
  for (size_t begin = 0; begin < logits.size(); begin += stretch) {
    const auto part = logits.subspan(begin, std::min(stretch, logits.size() - begin));
    float sums[lanes] = {};
    size_t i = 0;
    for (; i + lanes <= part.size(); i += lanes)
      for (size_t j = 0; j < lanes; ++j) sums[j] += exp_of((part[i + j] - largest) * scale);
    for (; i < part.size(); ++i) sums[0] += exp_of((part[i] - largest) * scale);
    for (const float s : sums) sum += s;
  }
  return sum;
}

// The least logit that passes min-p: e^((x - largest) / temperature) >= min_p.
float least_by_min_p(float largest, const Sampling& sampling) {
  if (sampling.min_p <= 0.0) return -infinity;
  return static_cast<float>(largest + std::log(sampling.min_p) * sampling.temperature);
}

// A logit below which all are dropped by top-p: were all `count` of them that likely, they still
// would not make up what may be dropped.
float least_by_top_p(size_t count, float largest, double whole, const Sampling& sampling) {
  const double weight = std::min(1.0, (1.0 - sampling.top_p) * whole / static_cast<double>(count));
  const double slack = 1e-3;  // for rounding
  return static_cast<float>(largest + (std::log(weight) - slack) * sampling.temperature);
}

}  // namespace

void check_sampling(const Sampling& s, const std::string& where) {
  const auto refuse = [&](const char* name, double value, const char* range) {
    throw ItemError(where, fmt::format("{} {} is out of range", name, value),
                    fmt::format("give {}", range));
  };
  if (s.temperature != 0.0 && !(s.temperature >= 1e-6 && s.temperature <= 1000.0))
    refuse("temperature", s.temperature, "0 (the likeliest token) or a number such as 0.7");
  if (s.top_k < 0) refuse("top_k", static_cast<double>(s.top_k), "0 (no limit) or more");
  if (!(s.top_p >= 0.0 && s.top_p <= 1.0)) refuse("top_p", s.top_p, "a number from 0 to 1");
  if (!(s.min_p >= 0.0 && s.min_p <= 1.0)) refuse("min_p", s.min_p, "a number from 0 to 1");
  if (!(s.repetition_penalty > 0.0 && s.repetition_penalty <= 1000.0))
    refuse("repetition_penalty", s.repetition_penalty, "a positive number, such as 1.1");
}

std::span<const float> Sampler::penalised(double penalty, std::span<const float> logits,
                                          std::span<const int32_t> history) {
  if (penalty == 1.0) return logits;
  penalised_.assign(logits.begin(), logits.end());
  if (seen_.size() < logits.size()) seen_.resize(logits.size());
  const auto by = static_cast<float>(penalty);
  const auto known = [&](int32_t token) {
    return token >= 0 && static_cast<size_t>(token) < logits.size();
  };
  for (const int32_t token : history) {
    if (!known(token) || seen_[token]) continue;
    seen_[token] = true;
    float& logit = penalised_[token];
    logit = logit < 0 ? logit * by : logit / by;
  }
  for (const int32_t token : history)
    if (known(token)) seen_[token] = false;
  return penalised_;
}

// Keeps the largest met so far in a buffer of a few times k: most logits are compared once.
float Sampler::kth_largest(std::span<const float> logits, size_t k) {
  if (k >= logits.size()) return -infinity;
  const size_t room = std::max<size_t>(4 * k, 1024);
  values_.clear();
  float least = -infinity;
  const auto shrink = [&] {
    if (values_.size() <= k) return;
    std::nth_element(values_.begin(), values_.begin() + (k - 1), values_.end(), std::greater<>());
    least = values_[k - 1];
    values_.resize(k);
  };
  for (const float x : logits) {
    // Not "<": of values equal to the least enough are kept already.
    if (x <= least && values_.size() >= k) continue;
    values_.push_back(x);
    if (values_.size() >= room) shrink();
  }
  shrink();
  return least;
}

namespace {

// Whether one is at least `least`; without branches within.
bool reaches(std::span<const float> logits, float least) {
  int any = 0;
  for (const float x : logits) any |= x >= least;
  return any;
}

// All of at least `least`, in the order of ids, with e^((x - largest) / temperature).
void choose(std::span<const float> logits, float least, float largest, float scale,
            std::vector<Sampler::Candidate>& candidates) {
  constexpr size_t stretch = 256;
  float weights[stretch];
  candidates.clear();
  for (size_t begin = 0; begin < logits.size(); begin += stretch) {
    const auto part = logits.subspan(begin, std::min(stretch, logits.size() - begin));
    if (!reaches(part, least)) continue;
    for (size_t i = 0; i < part.size(); ++i) weights[i] = exp_of((part[i] - largest) * scale);
    for (size_t i = 0; i < part.size(); ++i)
      if (part[i] >= least && weights[i] > 0.0f)
        candidates.push_back({static_cast<int32_t>(begin + i), weights[i]});
  }
}

double weight_of(std::span<const Sampler::Candidate> candidates) {
  double sum = 0.0;
  for (const auto& candidate : candidates) sum += candidate.weight;
  return sum;
}

}  // namespace

// Leaves of the candidates the likeliest, until their weights reach `goal`. Only those about as
// likely as the last one kept are sorted: the others are counted by the leading bits of their
// weights, which order floats as they order whole numbers.
void Sampler::keep_top_p(double goal) {
  const auto bucket_of = [](const Candidate& candidate) {
    return std::bit_cast<uint32_t>(candidate.weight) >> 17;
  };
  constexpr uint32_t top = std::bit_cast<uint32_t>(1.0f) >> 17;
  masses_.assign(top + 1, 0.0);
  for (const Candidate& candidate : candidates_) masses_[bucket_of(candidate)] += candidate.weight;
  double before = 0.0;
  uint32_t last = top;
  while (last > 0 && before + masses_[last] < goal) before += masses_[last--];

  const auto likelier = [](const Candidate& a, const Candidate& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.token < b.token;
  };
  border_.clear();
  for (const Candidate& candidate : candidates_)
    if (bucket_of(candidate) == last) border_.push_back(candidate);
  std::ranges::sort(border_, likelier);
  size_t kept = last == top;  // the likeliest, whatever the goal
  if (kept) before += border_[0].weight;
  for (; kept < border_.size() && before < goal; ++kept) before += border_[kept].weight;
  std::erase_if(candidates_, [&](const Candidate& candidate) {
    const auto bucket = bucket_of(candidate);
    return bucket < last ||
           (bucket == last && (kept == 0 || likelier(border_[kept - 1], candidate)));
  });
}

std::span<const Sampler::Candidate> Sampler::candidates(const Sampling& sampling,
                                                        std::span<const float> given,
                                                        std::span<const int32_t> history,
                                                        const std::string& where) {
  const auto logits = penalised(sampling.repetition_penalty, given, history);
  const float largest = largest_of(logits);
  if (!std::isfinite(largest))
    throw ItemError(where, "the model's numbers left the range of its precision",
                    "use a higher precision, or check the model's files");
  if (sampling.temperature == 0.0) {
    const auto best = std::find(logits.begin(), logits.end(), largest) - logits.begin();
    candidates_.assign(1, {static_cast<int32_t>(best), 1.0f});
    return candidates_;
  }
  const auto scale = static_cast<float>(1.0 / sampling.temperature);
  const float least = least_by_min_p(largest, sampling);
  const bool by_top_p = sampling.top_p < 1.0;
  if (sampling.top_k > 0) {
    const float kth = kth_largest(logits, static_cast<size_t>(sampling.top_k));
    choose(logits, by_top_p ? kth : std::max(kth, least), largest, scale, candidates_);
    if (by_top_p) keep_top_p(sampling.top_p * weight_of(candidates_));
  } else if (by_top_p) {
    const double whole = sum_of_weights(logits, largest, scale);
    choose(logits, least_by_top_p(logits.size(), largest, whole, sampling), largest, scale,
           candidates_);
    keep_top_p(sampling.top_p * whole);
  } else {
    choose(logits, least, largest, scale, candidates_);
  }
  if (by_top_p && sampling.min_p > 0.0)
    std::erase_if(candidates_,
                  [&](const Candidate& candidate) { return logits[candidate.token] < least; });
  return candidates_;
}

int32_t Sampler::sample(const Sampling& sampling, std::span<const float> logits,
                        std::span<const int32_t> history, uint64_t index,
                        const std::string& where) {
  const auto from = candidates(sampling, logits, history, where);
  if (from.size() == 1) return from[0].token;
  double left = uniform_for(sampling.seed, index) * weight_of(from);
  for (const Candidate& candidate : from) {
    left -= candidate.weight;
    if (left < 0.0) return candidate.token;
  }
  return from.back().token;  // rounding left a crumb
}

}  // namespace backlot
