#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "weights/decoder_config_checks.h"
#include "weights/decoder_config_reader.h"

namespace backlot {
namespace {

// Typed access to the keys of one object; null counts as absent, as in transformers.
class Fields {
 public:
  Fields(const Json& object, const ConfigSource& source, std::string prefix = "")
      : object_(object), source_(source), prefix_(std::move(prefix)) {}

  bool has(const std::string& key) const { return find(key) != nullptr; }
  const ConfigSource& source() const { return source_; }

  const Json* find(const std::string& key) const {
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }

  int64_t size(const std::string& key, int64_t most, std::optional<int64_t> otherwise = {}) const {
    const Json* value = find(key);
    if (!value && otherwise) return *otherwise;
    if (!value) source_.fail(fmt::format("lacks '{}'", prefix_ + key));
    if (!value->is_number_integer()) fail_kind(key, "an integer");
    // What an int64_t can't hold is too large, not negative.
    if (value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(most))
      source_.fail(fmt::format("'{}' is {}, not between 1 and {}", prefix_ + key,
                               value->get<uint64_t>(), most));
    return source_.within(prefix_ + key, value->get<int64_t>(), 1, most);
  }

  double positive(const std::string& key, std::optional<double> otherwise = {}) const {
    const Json* value = find(key);
    if (!value && otherwise) return *otherwise;
    if (!value) source_.fail(fmt::format("lacks '{}'", prefix_ + key));
    if (!value->is_number()) fail_kind(key, "a number");
    return source_.positive(prefix_ + key, value->get<double>());
  }

  bool flag(const std::string& key, bool otherwise) const {
    const Json* value = find(key);
    if (value && !value->is_boolean()) fail_kind(key, "true or false");
    return value ? value->get<bool>() : otherwise;
  }

  std::string text(const std::string& key, const std::string& otherwise) const {
    const Json* value = find(key);
    if (value && !value->is_string()) fail_kind(key, "text");
    return value ? value->get<std::string>() : otherwise;
  }

  std::optional<Fields> object(const std::string& key) const {
    const Json* value = find(key);
    if (value && !value->is_object()) fail_kind(key, "an object");
    if (!value || value->empty()) return std::nullopt;
    return Fields(*value, source_, prefix_ + key + ".");
  }

  [[noreturn]] void refuse(const std::string& key, const std::string& mend) const {
    ConfigSource other = source_;
    other.mend = mend;
    other.fail(fmt::format("'{}' is {}, which is not supported", prefix_ + key,
                           object_.at(key).dump(-1, ' ', false, Json::error_handler_t::replace)));
  }

 private:
  [[noreturn]] void fail_kind(const std::string& key, const std::string& wanted) const {
    source_.fail(
        fmt::format("'{}' is {}, not {}", prefix_ + key, object_.at(key).type_name(), wanted));
  }

  const Json& object_;
  const ConfigSource& source_;
  std::string prefix_;
};

std::string architecture(const Fields& fields) {
  std::string name;
  const Json* list = fields.find("architectures");
  if (list && list->is_array() && !list->empty() && list->front().is_string())
    name = list->front().get<std::string>();
  const std::string type = fields.text("model_type", "");
  if (name.empty() && type == "qwen2") name = "Qwen2ForCausalLM";
  if (name.empty() && type == "llama") name = "LlamaForCausalLM";
  if (name.empty() && type.empty()) fields.source().fail("names no architecture");
  if (name != "Qwen2ForCausalLM" && name != "LlamaForCausalLM")
    fields.source().refuse_architecture(name.empty() ? type : name);
  return name;
}

// Features that change the numbers and that other models of these architectures don't have.
void refuse_unsupported(const Fields& fields) {
  const std::string other = "give a Qwen2 or Llama chat model without it";
  if (fields.text("hidden_act", "silu") != "silu") fields.refuse("hidden_act", other);
  if (fields.flag("use_sliding_window", false)) fields.refuse("use_sliding_window", other);
  if (fields.flag("rope_interleaved", false)) fields.refuse("rope_interleaved", other);
  if (const Json* types = fields.find("layer_types"); types && types->is_array())
    if (std::ranges::any_of(*types, [](const Json& type) { return type != "full_attention"; }))
      fields.refuse("layer_types", other);
  if (fields.has("quantization_config"))
    fields.refuse("quantization_config",
                  "give the model's original weights in bfloat16 or float16, or a GGUF");
}

void read_yarn(const Fields& rope, DecoderConfig& config) {
  RopeScaling& scaling = config.rope_scaling;
  if (!rope.flag("truncate", true)) rope.refuse("truncate", "set it to true, or leave it out");
  scaling.beta_fast = rope.positive("beta_fast", 32.0);
  scaling.beta_slow = rope.positive("beta_slow", 1.0);
  const auto original = static_cast<double>(scaling.original_max_position_embeddings > 0
                                                ? scaling.original_max_position_embeddings
                                                : config.max_position_embeddings);
  scaling.factor =
      rope.positive("factor", static_cast<double>(config.max_position_embeddings) / original);
  if (rope.has("attention_factor")) {
    scaling.attention_factor = rope.positive("attention_factor");
  } else if (rope.has("mscale") && rope.has("mscale_all_dim")) {
    scaling.attention_factor = yarn_attention(scaling.factor, rope.positive("mscale")) /
                               yarn_attention(scaling.factor, rope.positive("mscale_all_dim"));
  }
}

void read_scaling(const Fields& fields, const Fields& rope, DecoderConfig& config) {
  RopeScaling& scaling = config.rope_scaling;
  using Kind = RopeScaling::Kind;
  if (rope.find("full_attention"))
    rope.refuse("full_attention", "give a model whose layers share one kind of RoPE");
  if (rope.positive("partial_rotary_factor", 1.0) != 1.0)
    rope.refuse("partial_rotary_factor", "give a model that rotates whole heads");
  const std::string key = rope.has("rope_type") ? "rope_type" : "type";
  const std::string type = rope.text(key, "default");
  if (type == "default") return;
  // As transformers: a value beside rope_parameters goes before one inside.
  scaling.original_max_position_embeddings =
      fields.size("original_max_position_embeddings", max_context,
                  rope.size("original_max_position_embeddings", max_context, 0));
  if (type == "yarn") {
    scaling.kind = Kind::yarn;
    return read_yarn(rope, config);
  }
  if (type != "linear" && type != "dynamic" && type != "llama3")
    rope.refuse(key, "RoPE is scaled by linear, dynamic, yarn or llama3");
  scaling.kind = type == "linear" ? Kind::linear : type == "dynamic" ? Kind::dynamic : Kind::llama3;
  scaling.factor = rope.positive("factor");
  // Only the other kinds know the context that the model was trained on.
  if (type != "llama3") {
    scaling.original_max_position_embeddings = 0;
    return;
  }
  scaling.low_freq_factor = rope.positive("low_freq_factor");
  scaling.high_freq_factor = rope.positive("high_freq_factor");
}

void read_rope(const Fields& fields, DecoderConfig& config) {
  config.rope_theta = fields.positive("rope_theta", 10000.0);
  if (fields.positive("partial_rotary_factor", 1.0) != 1.0)
    fields.refuse("partial_rotary_factor", "give a model that rotates whole heads");
  const auto rope =
      fields.object(fields.object("rope_scaling") ? "rope_scaling" : "rope_parameters");
  if (!rope) return;
  config.rope_theta = rope->positive("rope_theta", config.rope_theta);
  read_scaling(fields, *rope, config);
}

}  // namespace

DecoderConfig read_decoder_config(const Json& json, const std::filesystem::path& file) {
  const ConfigSource source{file.string(), "mend the file, or download it again"};
  if (!json.is_object()) source.fail("not a JSON object");
  const Fields fields(json, source);
  DecoderConfig config;
  config.architecture = architecture(fields);
  refuse_unsupported(fields);
  config.vocab_size = fields.size("vocab_size", max_vocabulary);
  config.hidden_size = fields.size("hidden_size", max_hidden);
  config.intermediate_size = fields.size("intermediate_size", max_intermediate);
  config.num_hidden_layers = fields.size("num_hidden_layers", max_layers);
  config.num_attention_heads = fields.size("num_attention_heads", max_heads);
  config.num_key_value_heads =
      fields.size("num_key_value_heads", max_heads, config.num_attention_heads);
  if (!fields.has("head_dim") && config.hidden_size % config.num_attention_heads != 0)
    source.fail(fmt::format("hidden_size {} is not a multiple of num_attention_heads {}",
                            config.hidden_size, config.num_attention_heads));
  config.head_dim =
      fields.size("head_dim", max_head_dim, config.hidden_size / config.num_attention_heads);
  source.within("head_dim", config.head_dim, 2, max_head_dim);
  const bool qwen2 = config.architecture == "Qwen2ForCausalLM";
  config.max_position_embeddings =
      fields.size("max_position_embeddings", max_context, qwen2 ? 32768 : 2048);
  config.rms_norm_eps = fields.positive("rms_norm_eps", 1e-6);
  config.tie_word_embeddings = fields.flag("tie_word_embeddings", false);
  config.o_bias = !qwen2 && fields.flag("attention_bias", false);
  config.qkv_bias = qwen2 || config.o_bias;
  config.mlp_bias = !qwen2 && fields.flag("mlp_bias", false);
  read_rope(fields, config);
  check_sizes(config, source);
  check_rope(config, source);
  return config;
}

}  // namespace backlot
