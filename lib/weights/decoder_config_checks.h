// What both readers of DecoderConfig insist on.
#pragma once

#include <string>

#include "weights/decoder_config.h"

namespace backlot {

// Names and mends for messages about one source.
struct ConfigSource {
  std::string where, mend;

  [[noreturn]] void fail(const std::string& what) const;
  // The architecture is `name`, which is not supported.
  [[noreturn]] void refuse_architecture(const std::string& name) const;
  // `value` if it lies between `least` and `most`.
  int64_t within(const std::string& key, int64_t value, int64_t least, int64_t most) const;
  // `value` if it is finite and above zero.
  double positive(const std::string& key, double value) const;
};

// The most that a size may be: far above any model, far below where a product overflows.
constexpr int64_t max_vocabulary = 1 << 22, max_hidden = 1 << 18, max_intermediate = 1 << 20;
constexpr int64_t max_layers = 1024, max_heads = 1 << 12, max_head_dim = 1 << 10;
constexpr int64_t max_context = 1 << 30;

// What sizes must be to each other. Throws LoadError.
void check_sizes(const DecoderConfig& config, const ConfigSource& source);
void check_rope(const DecoderConfig& config, const ConfigSource& source);

// YaRN's factor on cosines and sines (transformers, get_mscale).
double yarn_attention(double factor, double mscale = 1.0);

}  // namespace backlot
