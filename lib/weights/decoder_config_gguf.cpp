#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "weights/decoder_config_checks.h"
#include "weights/decoder_config_reader.h"

namespace backlot {
namespace {

// The keys of one architecture, "llama.block_count" and the like.
class Keys {
 public:
  Keys(const GgufFile& file, const ConfigSource& source, std::string architecture)
      : file_(file), source_(source), prefix_(std::move(architecture) + ".") {}

  const ConfigSource& source() const { return source_; }
  std::string name(const std::string& key) const { return prefix_ + key; }
  bool has(const std::string& key) const { return file_.has(prefix_ + key); }

  int64_t size(const std::string& key, int64_t most) const {
    return source_.within(prefix_ + key, file_.integer(prefix_ + key), 1, most);
  }
  int64_t size(const std::string& key, int64_t most, int64_t otherwise) const {
    return has(key) ? size(key, most) : otherwise;
  }
  double positive(const std::string& key) const {
    return source_.positive(prefix_ + key, file_.number(prefix_ + key));
  }
  double positive(const std::string& key, double otherwise) const {
    return has(key) ? positive(key) : otherwise;
  }
  std::string text(const std::string& key, const std::string& otherwise) const {
    return std::string(file_.find_text(prefix_ + key).value_or(otherwise));
  }

 private:
  const GgufFile& file_;
  const ConfigSource& source_;
  std::string prefix_;
};

void refuse_splits(const GgufFile& file) {
  const int64_t parts = file.find_integer("split.count").value_or(1);
  if (parts > 1)
    ConfigSource{file.path().string(),
                 "merge its parts: llama-gguf-split --merge FIRST-PART.gguf WHOLE.gguf"}
        .fail(fmt::format("this is one part of a GGUF split into {}", parts));
}

std::string architecture(const GgufFile& file, const ConfigSource& source) {
  const std::string name(file.text("general.architecture"));
  if (name != "llama" && name != "qwen2") source.refuse_architecture("'" + name + "'");
  return name;
}

void read_head_dim(const Keys& keys, DecoderConfig& config) {
  if (!keys.has("attention.key_length") && config.hidden_size % config.num_attention_heads != 0)
    keys.source().fail(fmt::format("{} dimensions can't be shared by {} attention heads evenly",
                                   config.hidden_size, config.num_attention_heads));
  config.head_dim = keys.size("attention.key_length", max_head_dim,
                              config.hidden_size / config.num_attention_heads);
  keys.source().within("head_dim", config.head_dim, 2, max_head_dim);
  for (const char* key : {"attention.value_length", "rope.dimension_count"})
    if (const int64_t length = keys.size(key, max_head_dim, config.head_dim);
        length != config.head_dim)
      keys.source().fail(fmt::format("'{}' is {}, which is not supported for heads of {}",
                                     keys.name(key), length, config.head_dim));
}

// What llama.cpp multiplies cosines and sines by is its own factor times YaRN's.
void read_yarn(const Keys& keys, RopeScaling& scaling) {
  scaling.kind = RopeScaling::Kind::yarn;
  scaling.beta_fast = keys.positive("rope.scaling.yarn_beta_fast", 32.0);
  scaling.beta_slow = keys.positive("rope.scaling.yarn_beta_slow", 1.0);
  const double own = keys.positive("rope.scaling.attn_factor", 1.0) *
                     keys.positive("rope.scaling.yarn_attn_factor", 1.0);
  if (own != 1.0) scaling.attention_factor = own * yarn_attention(scaling.factor);
}

void read_scaling(const Keys& keys, RopeScaling& scaling) {
  // Files of 2023 have the linear factor alone.
  const bool early = keys.has("rope.scale_linear");
  const std::string type = keys.text("rope.scaling.type", early ? "linear" : "none");
  if (type == "none") return;
  scaling.factor = keys.positive(early ? "rope.scale_linear" : "rope.scaling.factor", 1.0);
  scaling.original_max_position_embeddings =
      keys.size("rope.scaling.original_context_length", max_context, 0);
  if (type == "yarn") return read_yarn(keys, scaling);
  if (type != "linear")
    keys.source().fail(
        fmt::format("'{}' is '{}', which is not supported", keys.name("rope.scaling.type"), type));
  scaling.original_max_position_embeddings = 0;
  scaling.kind = scaling.factor == 1.0 ? RopeScaling::Kind::none : RopeScaling::Kind::linear;
}

// Llama 3.1's scaling, worked out by whoever converted the model.
void read_frequency_factors(const GgufFile& file, const ConfigSource& source,
                            DecoderConfig& config) {
  const auto found = file.tensors().find("rope_freqs.weight");
  if (found == file.tensors().end()) return;
  const GgufTensor& tensor = found->second;
  if (tensor.type != BlockType::f32 || tensor.elements() != config.head_dim / 2)
    source.fail(fmt::format("rope_freqs.weight has {} elements of {}, expected {} of F32",
                            tensor.elements(), block_type_name(tensor.type), config.head_dim / 2));
  auto& factors = config.rope_scaling.frequency_factors;
  factors.resize(static_cast<size_t>(tensor.elements()));
  dequantize(tensor.type, tensor.bytes, factors.data(), tensor.elements());
  if (!std::ranges::all_of(factors, [](float each) { return std::isfinite(each) && each > 0; }))
    source.fail("rope_freqs.weight holds a factor that is not above 0");
}

}  // namespace

DecoderConfig read_decoder_config(const GgufFile& file) {
  const ConfigSource source{file.path().string(),
                            "get the model's GGUF from another source, or convert it again"};
  refuse_splits(file);
  const std::string name = architecture(file, source);
  const Keys keys(file, source, name);
  if (keys.has("expert_count") && file.integer(keys.name("expert_count")) != 0)
    source.refuse_architecture("a mixture of experts ('" + name + "')");
  DecoderConfig config;
  config.architecture = name == "llama" ? "LlamaForCausalLM" : "Qwen2ForCausalLM";
  config.num_hidden_layers = keys.size("block_count", max_layers);
  config.hidden_size = keys.size("embedding_length", max_hidden);
  config.intermediate_size = keys.size("feed_forward_length", max_intermediate);
  config.num_attention_heads = keys.size("attention.head_count", max_heads);
  config.num_key_value_heads =
      keys.size("attention.head_count_kv", max_heads, config.num_attention_heads);
  config.max_position_embeddings = keys.size("context_length", max_context);
  config.rms_norm_eps = keys.positive("attention.layer_norm_rms_epsilon");
  config.rope_theta = keys.positive("rope.freq_base", 10000.0);
  config.vocab_size =
      keys.has("vocab_size")
          ? keys.size("vocab_size", max_vocabulary)
          : source.within("tokenizer.ggml.tokens",
                          static_cast<int64_t>(file.array_size("tokenizer.ggml.tokens")), 1,
                          max_vocabulary);
  const auto holds = [&](std::string_view tensor) { return file.tensors().contains(tensor); };
  config.tie_word_embeddings = !holds("output.weight");
  config.qkv_bias = name == "qwen2" || holds("blk.0.attn_q.bias");
  config.o_bias = holds("blk.0.attn_output.bias");
  config.mlp_bias = holds("blk.0.ffn_down.bias");
  read_head_dim(keys, config);
  read_scaling(keys, config.rope_scaling);
  read_frequency_factors(file, source, config);
  check_sizes(config, source);
  check_rope(config, source);
  return config;
}

}  // namespace backlot
