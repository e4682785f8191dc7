#include "weights/decoder_config_checks.h"

#include <fmt/format.h>

#include <cmath>

#include "base/error.h"

namespace backlot {

void ConfigSource::fail(const std::string& what) const { throw LoadError(where, what, mend); }

void ConfigSource::refuse_architecture(const std::string& name) const {
  throw LoadError(where, fmt::format("its architecture is {}, which is not supported", name),
                  "give a Qwen2 or Llama chat model");
}

int64_t ConfigSource::within(const std::string& key, int64_t value, int64_t least,
                             int64_t most) const {
  if (value < least || value > most)
    fail(fmt::format("'{}' is {}, not between {} and {}", key, value, least, most));
  return value;
}

double ConfigSource::positive(const std::string& key, double value) const {
  if (!std::isfinite(value) || value <= 0)
    fail(fmt::format("'{}' is {}, not a number above 0", key, value));
  return value;
}

void check_sizes(const DecoderConfig& config, const ConfigSource& source) {
  if (config.num_attention_heads % config.num_key_value_heads != 0)
    source.fail(fmt::format("{} attention heads can't share {} key-value heads evenly",
                            config.num_attention_heads, config.num_key_value_heads));
  if (config.head_dim % 2 != 0)
    source.fail(
        fmt::format("heads of {} dimensions, an odd number, can't be rotated", config.head_dim));
}

void check_rope(const DecoderConfig& config, const ConfigSource& source) {
  const RopeScaling& rope = config.rope_scaling;
  if (rope.kind == RopeScaling::Kind::yarn && config.rope_theta <= 1)
    source.fail(fmt::format("a RoPE base of {} can't be scaled by YaRN", config.rope_theta));
  if (rope.kind == RopeScaling::Kind::llama3 && rope.high_freq_factor <= rope.low_freq_factor)
    source.fail(fmt::format("RoPE's high_freq_factor {} is not above its low_freq_factor {}",
                            rope.high_freq_factor, rope.low_freq_factor));
}

double yarn_attention(double factor, double mscale) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

}  // namespace backlot
