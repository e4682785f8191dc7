// config.json of Qwen/Qwen2.5-7B-Instruct, Qwen/Qwen2.5-0.5B-Instruct and
// HuggingFaceTB/SmolLM2-135M-Instruct, less the fields that say nothing about the networks.
#include "weights/language_configs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "base/error.h"
#include "weights/decoder_config_reader.h"
#include "weights/json_file.h"

namespace backlot {
namespace {

struct Published {
  std::string_view name, config;
};

constexpr std::array published = {
    Published{"qwen2.5-7b", R"({
  "architectures": ["Qwen2ForCausalLM"],
  "model_type": "qwen2",
  "hidden_act": "silu",
  "hidden_size": 3584,
  "intermediate_size": 18944,
  "max_position_embeddings": 32768,
  "num_attention_heads": 28,
  "num_hidden_layers": 28,
  "num_key_value_heads": 4,
  "rms_norm_eps": 1e-06,
  "rope_theta": 1000000.0,
  "tie_word_embeddings": false,
  "use_sliding_window": false,
  "vocab_size": 152064
})"},
    Published{"qwen2.5-0.5b", R"({
  "architectures": ["Qwen2ForCausalLM"],
  "model_type": "qwen2",
  "hidden_act": "silu",
  "hidden_size": 896,
  "intermediate_size": 4864,
  "max_position_embeddings": 32768,
  "num_attention_heads": 14,
  "num_hidden_layers": 24,
  "num_key_value_heads": 2,
  "rms_norm_eps": 1e-06,
  "rope_theta": 1000000.0,
  "tie_word_embeddings": true,
  "use_sliding_window": false,
  "vocab_size": 151936
})"},
    Published{"smollm2-135m", R"({
  "architectures": ["LlamaForCausalLM"],
  "model_type": "llama",
  "attention_bias": false,
  "hidden_act": "silu",
  "hidden_size": 576,
  "intermediate_size": 1536,
  "max_position_embeddings": 8192,
  "mlp_bias": false,
  "num_attention_heads": 9,
  "num_hidden_layers": 30,
  "num_key_value_heads": 3,
  "rms_norm_eps": 1e-05,
  "rope_theta": 100000,
  "tie_word_embeddings": true,
  "vocab_size": 49152
})"},
};

}  // namespace

std::vector<std::string> published_language_models() {
  std::vector<std::string> names;
  for (const auto& model : published) names.emplace_back(model.name);
  return names;
}

std::optional<DecoderConfig> published_decoder_config(std::string_view name) {
  const auto* found = std::ranges::find(published, name, &Published::name);
  if (found == published.end()) return std::nullopt;
  return read_decoder_config(Json::parse(found->config), std::string(name));
}

DecoderConfig synthetic_decoder_config(const std::string& name) {
  if (const auto known = published_decoder_config(name)) return *known;
  const std::filesystem::path file = std::filesystem::path(name) / "config.json";
  std::error_code unreadable;
  if (std::filesystem::exists(file, unreadable))
    return read_decoder_config(read_json_file(file), file);
  throw UsageError(
      name, "neither a language model's name nor a folder with a config.json",
      fmt::format("give one of {}, or a folder", fmt::join(published_language_models(), ", ")));
}

}  // namespace backlot
