#include "language/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "language/philox.h"

namespace backlot {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

Sampling sampling_at(double temperature) {
  Sampling sampling;
  sampling.temperature = temperature;
  return sampling;
}

std::map<int32_t, double> probabilities(std::span<const Sampler::Candidate> candidates) {
  double sum = 0.0;
  for (const auto& c : candidates) sum += c.weight;
  std::map<int32_t, double> result;
  for (const auto& c : candidates) result[c.token] = c.weight / sum;
  return result;
}

std::vector<float> random_logits(size_t count, float spread, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> logits(count);
  for (float& x : logits) x = normal(random);
  return logits;
}

// From the authors' own known-answer tests (Random123, kat_vectors).
TEST(Philox, GivesThePublishedNumbers) {
  using Four = std::array<uint32_t, 4>;
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (Four{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint32_t ones = 0xffffffff;
  EXPECT_EQ(philox4x32({ones, ones, ones, ones}, {ones, ones}),
            (Four{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Four{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Sampler, KeepsWhatTransformersKeeps) {
  const Json file =
      Json::parse(read_file(fs::path(BACKLOT_TEST_DATA) / "sampling/transformers.json"));
  Sampler sampler;
  ASSERT_GE(file["cases"].size(), 50u);
  for (const Json& job : file["cases"]) {
    SCOPED_TRACE(job.dump());
    std::vector<float> logits;
    for (const Json& x : job["logits"]) logits.push_back(x.is_null() ? -infinity : x.get<float>());
    Sampling sampling = sampling_at(job["temperature"]);
    sampling.top_k = job["top_k"];
    sampling.top_p = job["top_p"];
    sampling.min_p = job["min_p"];
    sampling.repetition_penalty = job["repetition_penalty"];
    const auto got = probabilities(
        sampler.candidates(sampling, logits, job["history"].get<std::vector<int32_t>>(), "test"));
    std::map<int32_t, double> expected;
    for (size_t i = 0; i < job["kept"].size(); ++i)
      expected[job["kept"][i]] = job["probabilities"][i];
    ASSERT_EQ(got.size(), expected.size());
    for (const auto& [token, probability] : expected) {
      ASSERT_TRUE(got.contains(token)) << token;
      EXPECT_NEAR(got.at(token), probability, 1e-6);
    }
  }
}

// The filters as their definitions have them, with whole sorts in double.
std::map<int32_t, double> by_definition(const Sampling& s, std::span<const float> logits) {
  std::vector<std::pair<double, int32_t>> rest;  // weight, id
  const double largest = *std::ranges::max_element(logits);
  for (size_t i = 0; i < logits.size(); ++i)
    if ((logits[i] - largest) / s.temperature > -87.0)  // what is less never comes
      rest.emplace_back(std::exp((logits[i] - largest) / s.temperature), i);
  std::ranges::sort(rest, [](auto a, auto b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  const auto keep_while = [&](auto condition) {
    size_t kept = 1;
    while (kept < rest.size() && condition(kept)) ++kept;
    rest.resize(kept);
  };
  if (s.top_k > 0 && s.top_k < static_cast<int64_t>(rest.size())) {
    const double least = rest[s.top_k - 1].first;
    keep_while([&](size_t i) { return rest[i].first >= least; });
  }
  double whole = 0.0, before = rest[0].first;
  for (const auto& entry : rest) whole += entry.first;
  if (s.top_p < 1.0)
    keep_while([&](size_t i) {
      const bool keep = before < s.top_p * whole;
      before += rest[i].first;
      return keep;
    });
  keep_while([&](size_t i) { return rest[i].first >= s.min_p; });
  double sum = 0.0;
  for (const auto& entry : rest) sum += entry.first;
  std::map<int32_t, double> result;
  for (const auto& [weight, id] : rest) result[id] = weight / sum;
  return result;
}

// Of sizes that take the paths for few and for many candidates, with and without a remainder.
TEST(Sampler, AgreesWithTheDefinitionsOnLargeVocabularies) {
  Sampler sampler;
  std::mt19937 random(3);
  const auto pick = [&](std::initializer_list<double> values) {
    return values.begin()[random() % values.size()];
  };
  for (uint32_t round = 0; round < 60; ++round) {
    const size_t size = static_cast<size_t>(pick({1, 17, 4096, 20011}));
    const auto logits = random_logits(size, static_cast<float>(pick({0.05, 2.0, 6.0})), round);
    Sampling s = sampling_at(pick({0.2, 1.0, 3.0}));
    s.top_k = static_cast<int64_t>(pick({0, 0, 1, 50, 3000, 30000}));
    s.top_p = pick({1.0, 1.0, 0.1, 0.9, 0.9999});
    s.min_p = pick({0.0, 0.0, 0.05, 0.3});
    SCOPED_TRACE(testing::Message() << size << " top_k " << s.top_k << " top_p " << s.top_p
                                    << " min_p " << s.min_p << " temperature " << s.temperature);
    const auto expected = by_definition(s, logits);
    const auto got = probabilities(sampler.candidates(s, logits, {}, "test"));
    // Rounding may move a border by a token or two of the least weight.
    size_t differ = 0;
    for (const auto& [token, probability] : expected)
      if (!got.contains(token))
        ++differ;
      else
        EXPECT_NEAR(got.at(token) / probability, 1.0, 2e-4);
    for (const auto& [token, probability] : got) differ += !expected.contains(token);
    EXPECT_LE(differ, expected.size() < 200 ? 0 : 2 + expected.size() / 1000);
  }
}

TEST(Sampler, DrawsAsOftenAsTheProbabilitiesSay) {
  Sampler sampler;
  const auto logits = random_logits(40, 1.5f, 11);
  for (const int64_t top_k : {0, 12}) {
    Sampling sampling = sampling_at(0.9);
    sampling.top_k = top_k;
    sampling.seed = 7;
    const auto expected = by_definition(sampling, logits);
    std::map<int32_t, int64_t> drawn;
    constexpr int64_t draws = 200'000;
    for (int64_t i = 0; i < draws; ++i)
      ++drawn[sampler.sample(sampling, logits, {}, static_cast<uint64_t>(i), "test")];
    double chi_square = 0.0;
    for (const auto& [token, probability] : expected) {
      const double mean = probability * draws;
      chi_square += std::pow(static_cast<double>(drawn[token]) - mean, 2) / mean;
    }
    EXPECT_EQ(drawn.size(), expected.size());
    const auto freedom = static_cast<double>(expected.size() - 1);
    // Five standard deviations; the numbers are the same in every run.
    EXPECT_LT(chi_square, freedom + 5 * std::sqrt(2 * freedom));
    EXPECT_GT(chi_square, freedom - 5 * std::sqrt(2 * freedom));
  }
}

// Neighbouring seeds and indices must not give neighbouring texts.
TEST(Sampler, SeedsAndPlacesAreIndependent) {
  constexpr int n = 300;
  double same_seed = 0.0, same_place = 0.0;
  for (uint64_t a = 0; a < n; ++a)
    for (uint64_t b = 0; b < n; ++b) {
      same_seed += (uniform_for(a, b) - 0.5) * (uniform_for(a, b + 1) - 0.5);
      same_place += (uniform_for(a, b) - 0.5) * (uniform_for(a + 1, b) - 0.5);
    }
  // Each term has standard deviation 1/12.
  EXPECT_LT(std::abs(same_seed), 5.0 * n / 12.0);
  EXPECT_LT(std::abs(same_place), 5.0 * n / 12.0);
}

TEST(Sampler, TakesTheFirstOfEqualsAtTemperatureZero) {
  Sampler sampler;
  std::vector<float> logits(1000, -3.0f);
  logits[37] = logits[512] = 2.0f;
  EXPECT_EQ(sampler.sample(Sampling(), logits, {}, 0, "test"), 37);
  Sampling penalising;
  penalising.repetition_penalty = 1.5;
  // History divides once, however often a token is in it, and may name ids that have no logit.
  const std::vector<int32_t> history = {37, 37, -1, 5000};
  EXPECT_EQ(sampler.sample(penalising, logits, history, 0, "test"), 512);
  EXPECT_EQ(sampler.sample(penalising, logits, {}, 0, "test"), 37);
}

TEST(Sampler, RefusesNumbersThatAreNone) {
  Sampler sampler;
  for (const double temperature : {0.0, 0.8})
    for (const size_t place : {0u, 15u, 16u, 99u}) {
      std::vector<float> logits(100, 0.5f);
      for (const float bad : {std::nanf(""), infinity}) {
        logits[place] = bad;
        try {
          sampler.sample(sampling_at(temperature), logits, {}, 0, "prompt 3");
          FAIL() << bad << " at " << place;
        } catch (const ItemError& error) {
          EXPECT_EQ(error.where(), "prompt 3");
        }
      }
      logits[place] = -infinity;  // a token that can't come
      EXPECT_NE(sampler.sample(sampling_at(temperature), logits, {}, 0, "test"), int32_t(place));
    }
  const std::vector<float> none(50, -infinity);
  EXPECT_THROW(sampler.sample(sampling_at(1.0), none, {}, 0, "test"), ItemError);
}

TEST(Sampler, ChecksItsSettings) {
  const auto wrong = [](auto set) {
    Sampling sampling = sampling_at(0.7);
    check_sampling(sampling, "x");
    set(sampling);
    EXPECT_THROW(check_sampling(sampling, "x"), ItemError);
  };
  wrong([](Sampling& s) { s.temperature = -0.1; });
  wrong([](Sampling& s) { s.temperature = 1e-30; });
  wrong([](Sampling& s) { s.temperature = std::nan(""); });
  wrong([](Sampling& s) { s.top_k = -1; });
  wrong([](Sampling& s) { s.top_p = 1.1; });
  wrong([](Sampling& s) { s.min_p = -0.5; });
  wrong([](Sampling& s) { s.repetition_penalty = 0.0; });
}

}  // namespace
}  // namespace backlot
