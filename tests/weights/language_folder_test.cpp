#include "weights/language_folder.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstring>
#include <limits>
#include <stdexcept>

#include "support/temporary_folder.h"
#include "weights/decoder_config_reader.h"
#include "weights/decoder_tensors.h"
#include "weights/language_configs.h"
#include "weights/safetensors_bytes.h"

namespace backlot {
namespace {

using Shapes = std::map<std::string, std::vector<int64_t>>;

// Two layers of a Qwen2 model as transformers 4 writes it.
Json qwen2_config() {
  return Json::parse(R"({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2",
    "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_act": "silu",
    "max_position_embeddings": 512, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
    "sliding_window": 128, "use_sliding_window": false, "tie_word_embeddings": true,
    "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "bfloat16"})");
}

Json llama_config() {
  Json config = qwen2_config();
  config["architectures"] = {"LlamaForCausalLM"};
  config["model_type"] = "llama";
  return config;
}

Shapes shapes_of(const DecoderConfig& config) {
  Shapes shapes;
  for (const auto& tensor : decoder_tensors(config)) shapes.emplace(tensor.name, tensor.shape);
  return shapes;
}

// Where a safetensors file's numbers begin.
size_t data_begin(std::string_view bytes) {
  uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof header);
  return sizeof header + header;
}

class Language : public ::testing::Test {
 protected:
  void write(const Json& config, const Shapes& shapes) {
    write_quickly(folder_ / "model/config.json", config.dump());
    write_float_tensors(folder_ / "model/model.safetensors", shapes);
  }
  // With the tensors that this config asks for.
  LanguageFolder open(const Json& config) {
    write(config, shapes_of(read_config(config)));
    return LanguageFolder::open(folder_ / "model");
  }
  DecoderConfig read_config(const Json& config) {
    return read_decoder_config(config, folder_ / "model/config.json");
  }
  std::string complaint(const Json& config) {
    return load_error([&] { read_config(config); });
  }
  std::string opening(const std::string& name = "model") {
    return load_error([&] { LanguageFolder::open(folder_ / name); });
  }

  TemporaryFolder folder_;
};

void expect_complaint(const std::string& complaint, std::string_view what) {
  EXPECT_NE(complaint.find(what), std::string::npos) << complaint;
  EXPECT_NE(complaint.find("; "), std::string::npos) << complaint;
}

TEST_F(Language, ReadsAQwen2Folder) {
  const auto model = open(qwen2_config());
  const auto& config = model.config();
  EXPECT_EQ(config.architecture, "Qwen2ForCausalLM");
  EXPECT_EQ(config.vocab_size, 40);
  EXPECT_EQ(config.hidden_size, 16);
  EXPECT_EQ(config.intermediate_size, 24);
  EXPECT_EQ(config.num_hidden_layers, 2);
  EXPECT_EQ(config.num_attention_heads, 4);
  EXPECT_EQ(config.num_key_value_heads, 2);
  EXPECT_EQ(config.head_dim, 4);
  EXPECT_EQ(config.max_position_embeddings, 512);
  EXPECT_EQ(config.rms_norm_eps, 1e-6);
  EXPECT_EQ(config.rope_theta, 1e6);
  EXPECT_EQ(config.rope_scaling.kind, RopeScaling::Kind::none);
  EXPECT_TRUE(config.tie_word_embeddings);
  EXPECT_TRUE(config.qkv_bias);
  EXPECT_FALSE(config.o_bias);
  EXPECT_FALSE(config.mlp_bias);
  EXPECT_FALSE(model.is_gguf());
  EXPECT_EQ(model.eos_token_ids(), std::vector<int64_t>{2});
  EXPECT_EQ(model.bos_token_id(), 1);
  EXPECT_EQ(model.tensors().size(), 2u + 2 * 12);
  EXPECT_THROW(model.tensor("lm_head.weight"), std::out_of_range);
}

TEST_F(Language, ReadsRowsAsFloat32) {
  const auto model = open(qwen2_config());
  const auto& tensor = model.tensor("model.layers.1.mlp.up_proj.weight");
  EXPECT_EQ(tensor.shape, (std::vector<int64_t>{24, 16}));
  std::vector<float> all(24 * 16), some(2 * 16);
  read_rows_float32(tensor, 0, 24, all.data());
  for (size_t i = 1; i < all.size(); ++i) EXPECT_EQ(all[i], all[0] + static_cast<float>(i));
  read_rows_float32(tensor, 5, 2, some.data());
  EXPECT_EQ(some.front(), all[5 * 16]);
  EXPECT_EQ(some.back(), all[7 * 16 - 1]);
  EXPECT_THROW(read_rows_float32(tensor, 23, 2, some.data()), std::out_of_range);
  EXPECT_THROW(read_rows_float32(tensor, -1, 1, some.data()), std::out_of_range);
  const auto& bias = model.tensor("model.layers.1.self_attn.k_proj.bias");
  EXPECT_EQ(bias.rows(), 1);
  EXPECT_EQ(bias.columns(), 8);
}

TEST_F(Language, HonoursWhatConfigsVary) {
  Json config = llama_config();
  config["attention_bias"] = true;
  config["mlp_bias"] = true;
  config["tie_word_embeddings"] = false;
  config["head_dim"] = 6;
  config.erase("num_key_value_heads");
  const auto model = open(config);
  EXPECT_TRUE(model.config().qkv_bias);
  EXPECT_TRUE(model.config().o_bias);
  EXPECT_TRUE(model.config().mlp_bias);
  EXPECT_EQ(model.config().head_dim, 6);
  EXPECT_EQ(model.config().num_key_value_heads, 4);
  EXPECT_EQ(model.tensor("model.layers.0.self_attn.o_proj.weight").shape,
            (std::vector<int64_t>{16, 24}));
  EXPECT_EQ(model.tensor("lm_head.weight").shape, (std::vector<int64_t>{40, 16}));
  EXPECT_FALSE(read_config(llama_config()).qkv_bias);
  Json bare = llama_config();
  bare.erase("architectures");
  for (const char* key : {"head_dim", "rope_theta"}) bare[key] = nullptr;
  EXPECT_EQ(read_config(bare).architecture, "LlamaForCausalLM");
  EXPECT_EQ(read_config(bare).head_dim, 4);
  EXPECT_EQ(read_config(bare).rope_theta, 1e4);
}

// Attention factors are those that transformers 5.23 works out (ROPE_INIT_FUNCTIONS).
TEST_F(Language, ReadsRopeInBothSpellings) {
  using Kind = RopeScaling::Kind;
  Json config = llama_config();
  config["max_position_embeddings"] = 32768;
  const auto scaling = [&](const char* key, const char* text) {
    config[key] = Json::parse(text);
    const auto read = read_config(config);
    config.erase(key);
    return read;
  };
  auto read = scaling("rope_scaling", R"({"type": "linear", "factor": 2.5})");
  EXPECT_EQ(read.rope_scaling.kind, Kind::linear);
  EXPECT_EQ(read.rope_scaling.factor, 2.5);
  EXPECT_EQ(read.rope_theta, 1e6);
  read = scaling("rope_scaling", R"({"rope_type": "dynamic", "factor": 2.0})");
  EXPECT_EQ(read.rope_scaling.kind, Kind::dynamic);
  read = scaling("rope_scaling", R"({"type": "yarn", "factor": 4.0,
                                     "original_max_position_embeddings": 8192})");
  EXPECT_EQ(read.rope_scaling.kind, Kind::yarn);
  EXPECT_EQ(read.rope_scaling.original_max_position_embeddings, 8192);
  EXPECT_EQ(read.rope_scaling.beta_fast, 32.0);
  EXPECT_EQ(read.rope_scaling.attention_factor, 0.0);
  read = scaling("rope_scaling", R"({"type": "yarn", "original_max_position_embeddings": 8192})");
  EXPECT_EQ(read.rope_scaling.factor, 4.0);
  read = scaling("rope_parameters", R"({"rope_theta": 100000.0, "rope_type": "yarn", "factor": 8.0,
      "original_max_position_embeddings": 4096, "mscale": 0.7, "mscale_all_dim": 1.0,
      "beta_fast": 16, "beta_slow": 2})");
  EXPECT_EQ(read.rope_theta, 1e5);
  EXPECT_EQ(read.rope_scaling.beta_fast, 16.0);
  EXPECT_EQ(read.rope_scaling.beta_slow, 2.0);
  EXPECT_DOUBLE_EQ(read.rope_scaling.attention_factor, 0.9483558523503399);
  read = scaling("rope_parameters", R"({"rope_theta": 500000.0, "rope_type": "llama3",
      "factor": 8.0, "low_freq_factor": 1.5, "high_freq_factor": 4.5,
      "original_max_position_embeddings": 8192})");
  EXPECT_EQ(read.rope_scaling.kind, Kind::llama3);
  EXPECT_EQ(read.rope_scaling.factor, 8.0);
  EXPECT_EQ(read.rope_scaling.low_freq_factor, 1.5);
  EXPECT_EQ(read.rope_scaling.high_freq_factor, 4.5);
  EXPECT_EQ(read.rope_scaling.original_max_position_embeddings, 8192);
  EXPECT_EQ(read.rope_theta, 5e5);
  read = scaling("rope_parameters", R"({"rope_theta": 3.0, "rope_type": "default"})");
  EXPECT_EQ(read.rope_scaling.kind, Kind::none);
  EXPECT_EQ(read.rope_theta, 3.0);
  read = scaling("rope_scaling", "null");
  EXPECT_EQ(read.rope_scaling.kind, Kind::none);
}

TEST_F(Language, RefusesRopeThatItCannotHonour) {
  const auto about = [&](const char* text) {
    Json config = llama_config();
    config["rope_scaling"] = Json::parse(text);
    return complaint(config);
  };
  expect_complaint(about(R"({"rope_type": "longrope", "factor": 2.0})"),
                   R"('rope_scaling.rope_type' is "longrope", which is not supported)");
  expect_complaint(about(R"({"type": "mrope", "mrope_section": [16, 24, 24]})"), "mrope");
  expect_complaint(about(R"({"type": "linear"})"), "lacks 'rope_scaling.factor'");
  expect_complaint(about(R"({"type": "linear", "factor": 0})"), "is 0, not a number above 0");
  expect_complaint(about(R"({"type": "linear", "factor": "2"})"), "is string, not a number");
  expect_complaint(about(R"({"type": "yarn", "factor": 2, "truncate": false})"), "truncate");
  expect_complaint(about(R"({"type": "llama3", "factor": 2, "low_freq_factor": 4,
                             "high_freq_factor": 4})"),
                   "is not above");
  expect_complaint(about(R"({"full_attention": {"rope_type": "default"}})"), "full_attention");
  expect_complaint(about(R"({"rope_type": "default", "partial_rotary_factor": 0.5})"), "partial");
  expect_complaint(about("[]"), "is array, not an object");
}

TEST_F(Language, RefusesOtherArchitecturesByName) {
  Json config = qwen2_config();
  config["architectures"] = {"Qwen2MoeForCausalLM"};
  expect_complaint(complaint(config),
                   "config.json: its architecture is Qwen2MoeForCausalLM, which is not supported; "
                   "give a Qwen2 or Llama chat model");
  config.erase("architectures");
  config["model_type"] = "gemma";
  expect_complaint(complaint(config), "its architecture is gemma");
  config.erase("model_type");
  expect_complaint(complaint(config), "names no architecture");
}

TEST_F(Language, RefusesWhatItCannotHonour) {
  const auto with = [&](const char* key, const Json& value) {
    Json config = qwen2_config();
    config[key] = value;
    return complaint(config);
  };
  EXPECT_EQ(with("sliding_window", 64), "");
  expect_complaint(with("use_sliding_window", true), "'use_sliding_window' is true");
  expect_complaint(with("hidden_act", "gelu"), R"('hidden_act' is "gelu")");
  expect_complaint(with("layer_types", {"full_attention", "sliding_attention"}), "layer_types");
  EXPECT_EQ(with("layer_types", {"full_attention", "full_attention"}), "");
  expect_complaint(with("quantization_config", {{"quant_method", "gptq"}}), "or a GGUF");
  expect_complaint(with("rope_interleaved", true), "rope_interleaved");
  expect_complaint(with("partial_rotary_factor", 0.25), "partial_rotary_factor");
}

TEST_F(Language, BoundsEverySize) {
  const auto with = [&](const char* key, const Json& value) {
    Json config = qwen2_config();
    config[key] = value;
    return complaint(config);
  };
  for (const char* key :
       {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
        "num_attention_heads", "num_key_value_heads", "head_dim", "max_position_embeddings"}) {
    const std::string name = "'" + std::string(key) + "'";
    expect_complaint(with(key, 0), name + " is 0, not between 1 and");
    expect_complaint(with(key, -3), name + " is -3, not between");
    expect_complaint(with(key, int64_t{1} << 40), name + " is 1099511627776, not between");
    expect_complaint(with(key, std::numeric_limits<uint64_t>::max()), name + " is 18446744073709");
    expect_complaint(with(key, 1.5), name + " is number, not an integer");
    expect_complaint(with(key, "7"), name + " is string, not an integer");
  }
  for (const char* key : {"vocab_size", "hidden_size", "num_hidden_layers"})
    expect_complaint(with(key, nullptr), "lacks '" + std::string(key) + "'");
  expect_complaint(with("num_key_value_heads", 3), "4 attention heads can't share 3");
  expect_complaint(with("num_attention_heads", 6), "not a multiple of num_attention_heads 6");
  expect_complaint(with("head_dim", 5), "an odd number");
  expect_complaint(with("rms_norm_eps", -1.0), "not a number above 0");
  expect_complaint(with("rope_theta", 0.0), "not a number above 0");
  expect_complaint(with("tie_word_embeddings", 1), "not true or false");
  expect_complaint(complaint(Json::array()), "not a JSON object");
}

TEST_F(Language, ListsAllThatDoesNotAgreeAtOnce) {
  auto shapes = shapes_of(read_config(qwen2_config()));
  shapes.erase("model.norm.weight");
  shapes["model.layers.0.self_attn.k_proj.weight"] = {16, 16};
  shapes["model.layers.2.input_layernorm.weight"] = {16};
  write(qwen2_config(), shapes);
  const std::string text = opening();
  expect_complaint(text, "3 tensors do not match the model");
  expect_complaint(text, "model.layers.0.self_attn.k_proj.weight is [16, 16], expected [8, 16]");
  expect_complaint(text, "1 missing (model.norm.weight [16])");
  expect_complaint(text, "1 unused (model.layers.2.input_layernorm.weight)");
}

TEST_F(Language, RefusesNumbersOfOtherKinds) {
  auto shapes = shapes_of(read_config(qwen2_config()));
  write(qwen2_config(), shapes);
  std::string bytes = read_file(folder_ / "model/model.safetensors");
  const std::string was = R"("model.norm.weight":{"dtype":"F32")";
  bytes.replace(bytes.find(was), was.size(), R"("model.norm.weight":{"dtype":"I32")");
  write_quickly(folder_ / "model/model.safetensors", bytes);
  expect_complaint(opening(), "model.norm.weight holds I32, expected F32, F16 or BF16");
}

TEST_F(Language, SettlesATiedHeadThatIsStoredAsTransformersDoes) {
  Json config = llama_config();
  auto shapes = shapes_of(read_config(config));
  shapes["lm_head.weight"] = {40, 16};
  shapes["model.layers.0.self_attn.rotary_emb.inv_freq"] = {2};
  write(config, shapes);
  // Other numbers: it is not tied after all.
  EXPECT_FALSE(LanguageFolder::open(folder_ / "model").config().tie_word_embeddings);
  std::string bytes = read_file(folder_ / "model/model.safetensors");
  const size_t data = data_begin(bytes), length = 40 * 16 * sizeof(float);
  const size_t embedding = length;  // after lm_head, by name
  bytes.replace(data, length, bytes.substr(data + embedding, length));
  write_quickly(folder_ / "model/model.safetensors", bytes);
  const auto tied = LanguageFolder::open(folder_ / "model");
  EXPECT_TRUE(tied.config().tie_word_embeddings);
  EXPECT_FALSE(tied.tensors().contains("lm_head.weight"));
}

TEST_F(Language, TakesEndingTokensFromGenerationConfigFirst) {
  write(qwen2_config(), shapes_of(read_config(qwen2_config())));
  const fs::path file = folder_ / "model/generation_config.json";
  write_quickly(file, R"({"eos_token_id": [5, 7], "bos_token_id": null})");
  const auto model = LanguageFolder::open(folder_ / "model");
  EXPECT_EQ(model.eos_token_ids(), (std::vector<int64_t>{5, 7}));
  EXPECT_EQ(model.bos_token_id(), 1);
  write_quickly(file, R"({"eos_token_id": 40})");
  expect_complaint(opening(), "'eos_token_id' is 40, outside the vocabulary of 40");
  write_quickly(file, R"({"eos_token_id": ["a"]})");
  expect_complaint(opening(), "neither a token nor a list");
  write_quickly(file, "[]");
  expect_complaint(opening(), "not a JSON object");
}

TEST_F(Language, SaysWhatIsNoLanguageModel) {
  expect_complaint(opening("absent"), "no such model");
  fs::create_directories(folder_ / "empty");
  expect_complaint(opening("empty"), "no language model here");
  write_quickly(folder_ / "pickles/config.json", qwen2_config().dump());
  write_quickly(folder_ / "pickles/pytorch_model.bin", "x");
  expect_complaint(opening("pickles"), "pytorch_model.bin, a pickle; get the model's .safetensors");
  write_quickly(folder_ / "bare/config.json", qwen2_config().dump());
  expect_complaint(opening("bare"), "no weights");
  write_quickly(folder_ / "picture/model_index.json", "{}");
  expect_complaint(opening("picture"), "a picture model");
  fs::create_directories(folder_ / "cached/snapshots");
  expect_complaint(opening("cached"), "Hugging Face cache");
  for (const char* name : {"a.bin", "a.pt"}) {
    write_quickly(folder_ / name, "x");
    expect_complaint(opening(name), "this is a pickle");
  }
  write_quickly(folder_ / "a.safetensors", "x");
  expect_complaint(opening("a.safetensors"), "give the folder that holds them");
  write_quickly(folder_ / "a.txt", "x");
  expect_complaint(opening("a.txt"), "not a language model");
}

// Against the numbers of parameters that the models' pages name.
TEST(PublishedLanguageModels, HaveTheirPublishedSizes) {
  const std::map<std::string, int64_t> parameters = {
      {"qwen2.5-7b", 7615616512}, {"qwen2.5-0.5b", 494032768}, {"smollm2-135m", 134515008}};
  EXPECT_EQ(published_language_models().size(), parameters.size());
  for (const auto& name : published_language_models()) {
    int64_t sum = 0;
    for (const auto& tensor : decoder_tensors(*published_decoder_config(name))) {
      int64_t numbers = 1;
      for (const int64_t size : tensor.shape) numbers *= size;
      sum += numbers;
    }
    EXPECT_EQ(sum, parameters.at(name)) << name;
  }
  EXPECT_FALSE(published_decoder_config("qwen2.5"));
}

TEST_F(Language, ItsConfigAloneMakesASyntheticModel) {
  fs::create_directories(folder_ / "sizes");
  write_quickly(folder_ / "sizes/config.json", qwen2_config().dump());
  EXPECT_EQ(synthetic_decoder_config((folder_ / "sizes").string()).hidden_size, 16);
  try {
    synthetic_decoder_config((folder_ / "nowhere").string());
    FAIL() << "there is no such folder";
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("qwen2.5-7b"), std::string::npos) << error.what();
  }
}

TEST_F(Language, HasAFingerprintThatFollowsTheFiles) {
  ::setenv("XDG_CACHE_HOME", (folder_ / "cache").c_str(), 1);
  const auto model = open(qwen2_config());
  EXPECT_FALSE(known_fingerprint(model));
  const std::string first = fingerprint(model);
  EXPECT_EQ(first.size(), 64u);
  EXPECT_EQ(known_fingerprint(model), first);
  fs::copy(folder_ / "model", folder_ / "again", fs::copy_options::recursive);
  write_quickly(folder_ / "again/README.md", "notes");
  EXPECT_EQ(fingerprint(LanguageFolder::open(folder_ / "again")), first);
  write_quickly(folder_ / "again/chat_template.jinja", "{{ messages }}");
  EXPECT_NE(fingerprint(LanguageFolder::open(folder_ / "again")), first);
  ::unsetenv("XDG_CACHE_HOME");
}

}  // namespace
}  // namespace backlot
