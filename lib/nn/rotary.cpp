#include "nn/rotary.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace backlot {
namespace {

using at::Tensor;
using Kind = RopeScaling::Kind;

int64_t trained_positions(const DecoderConfig& config) {
  const int64_t original = config.rope_scaling.original_max_position_embeddings;
  return original > 0 ? original : config.max_position_embeddings;
}

Tensor plain_frequencies(const DecoderConfig& config) {
  const auto exponents = at::arange(0, config.head_dim, 2, at::kLong).to(at::kFloat) /
                         static_cast<double>(config.head_dim);
  return 1.0 / at::pow(config.rope_theta, exponents);
}

// Long waves are stretched by the factor, short ones stay, those between are blended.
Tensor llama3_frequencies(const DecoderConfig& config, const Tensor& plain) {
  const auto& scaling = config.rope_scaling;
  const auto trained = static_cast<double>(trained_positions(config));
  const double low = trained / scaling.low_freq_factor, high = trained / scaling.high_freq_factor;
  const auto lengths = 2 * std::numbers::pi / plain;
  const auto stretched = at::where(lengths > low, plain / scaling.factor, plain);
  const auto share = (trained / lengths - scaling.low_freq_factor) /
                     (scaling.high_freq_factor - scaling.low_freq_factor);
  const auto blended = (1 - share) * stretched / scaling.factor + share * stretched;
  const auto between = at::logical_not(lengths < high).logical_and_(at::logical_not(lengths > low));
  return at::where(between, blended, stretched);
}

// Peng et al., YaRN (arXiv 2309.00071).
Tensor yarn_frequencies(const DecoderConfig& config, const Tensor& plain) {
  const auto& scaling = config.rope_scaling;
  const auto dimension = [&](double rotations) {
    return config.head_dim *
           std::log(static_cast<double>(trained_positions(config)) /
                    (rotations * 2 * std::numbers::pi)) /
           (2 * std::log(config.rope_theta));
  };
  const double first = std::max(std::floor(dimension(scaling.beta_fast)), 0.0);
  double last =
      std::min(std::ceil(dimension(scaling.beta_slow)), static_cast<double>(config.head_dim - 1));
  if (first == last) last += 0.001;
  const auto ramp = at::arange(config.head_dim / 2, at::kFloat);
  const auto kept = 1 - ((ramp - first) / (last - first)).clamp(0, 1);
  return plain / scaling.factor * (1 - kept) + plain * kept;
}

double attention_factor(const RopeScaling& scaling) {
  if (scaling.kind != Kind::yarn) return 1.0;
  if (scaling.attention_factor > 0) return scaling.attention_factor;
  return scaling.factor <= 1 ? 1.0 : 0.1 * std::log(scaling.factor) + 1.0;
}

Tensor frequencies(const DecoderConfig& config) {
  const auto& scaling = config.rope_scaling;
  auto plain = plain_frequencies(config);
  if (!scaling.frequency_factors.empty()) plain = plain / at::tensor(scaling.frequency_factors);
  switch (scaling.kind) {
    case Kind::linear:
      return plain / scaling.factor;
    case Kind::llama3:
      return llama3_frequencies(config, plain);
    case Kind::yarn:
      return yarn_frequencies(config, plain);
    case Kind::none:
    case Kind::dynamic:  // as trained within max_position_embeddings, beyond which nothing goes
                         // here
      break;
  }
  return plain;
}

}  // namespace

RotaryTable make_rotary_table(const DecoderConfig& config, int64_t positions) {
  const auto places = at::arange(positions, at::kFloat).unsqueeze(1);
  const auto angles = places * frequencies(config).unsqueeze(0);
  const double factor = attention_factor(config.rope_scaling);
  return {angles.cos() * factor, angles.sin() * factor};
}

Tensor rotate(const Tensor& x, const Tensor& cos, const Tensor& sin) {
  const auto halves = x.chunk(2, -1);
  const auto c = cos.unsqueeze(1), s = sin.unsqueeze(1);
  return at::cat({halves[0] * c - halves[1] * s, halves[1] * c + halves[0] * s}, -1);
}

}  // namespace backlot
