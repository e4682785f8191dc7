#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <functional>
#include <random>

#include "support/temporary_folder.h"
#include "weights/gguf_bytes.h"
#include "weights/inspect.h"
#include "weights/language_folder.h"
#include "weights/safetensors_bytes.h"

namespace backlot {
namespace {

using Ne = std::vector<int64_t>;  // innermost first, as in a file

struct Part {
  std::string name;
  Ne ne;
  BlockType type = BlockType::f32;
};

// One layer of width 32, 4 heads of 8, two for keys and values. Of F32 tensors element i is i.
struct Model {
  std::string architecture = "llama";
  std::map<std::string, std::string> keys;  // name to the whole entry
  std::vector<Part> parts;

  explicit Model(std::string name = "llama") : architecture(std::move(name)) {
    set(gguf_text("general.architecture", architecture), "general.architecture");
    for (const auto& [key, value] :
         std::vector<std::pair<std::string, uint32_t>>{{"block_count", 1},
                                                       {"context_length", 256},
                                                       {"embedding_length", 32},
                                                       {"feed_forward_length", 64},
                                                       {"attention.head_count", 4},
                                                       {"attention.head_count_kv", 2},
                                                       {"rope.dimension_count", 8}})
      size(key, value);
    number("attention.layer_norm_rms_epsilon", 1e-5F);
    number("rope.freq_base", 1e5F);
    set(gguf_texts("tokenizer.ggml.tokens", {"a", "b", "<|im_end|>", "c", "<|endoftext|>", "d"}),
        "tokenizer.ggml.tokens");
    set(gguf_u32("tokenizer.ggml.bos_token_id", 1), "tokenizer.ggml.bos_token_id");
    set(gguf_u32("tokenizer.ggml.eos_token_id", 2), "tokenizer.ggml.eos_token_id");
    parts = {{"token_embd.weight", {32, 6}, BlockType::q8_0},
             {"blk.0.attn_norm.weight", {32}},
             {"blk.0.attn_q.weight", {32, 32}},
             {"blk.0.attn_k.weight", {32, 16}},
             {"blk.0.attn_v.weight", {32, 16}},
             {"blk.0.attn_output.weight", {32, 32}, BlockType::q4_1},
             {"blk.0.ffn_norm.weight", {32}},
             {"blk.0.ffn_gate.weight", {32, 64}},
             {"blk.0.ffn_up.weight", {32, 64}},
             {"blk.0.ffn_down.weight", {64, 32}},
             {"output_norm.weight", {32}}};
    if (architecture == "qwen2")
      for (const char* name : {"q", "k", "v"})
        parts.push_back({"blk.0.attn_" + std::string(name) + ".bias", {*name == 'q' ? 32 : 16}});
  }

  void set(std::string entry, const std::string& key) { keys[key] = std::move(entry); }
  void size(const std::string& key, uint32_t value) {
    set(gguf_u32(architecture + "." + key, value), key);
  }
  void number(const std::string& key, float value) {
    set(gguf_f32(architecture + "." + key, value), key);
  }
  void text(const std::string& key, const std::string& value) {
    set(gguf_text(architecture + "." + key, value), key);
  }
  Part& part(const std::string& name) { return *std::ranges::find(parts, name, &Part::name); }

  std::string bytes() const {
    GgufParts file;
    for (const auto& [key, entry] : keys) file.keys.push_back(entry);
    for (const auto& part : parts) {
      file.tensors.push_back(
          gguf_tensor(part.name, part.ne, static_cast<uint32_t>(part.type), file.data.size()));
      int64_t count = 1;
      for (const int64_t length : part.ne) count *= length;
      if (part.type == BlockType::f32) {
        for (int64_t i = 0; i < count; ++i) file.data += le(static_cast<float>(i + 1));
      } else {
        file.data.append(static_cast<size_t>(row_bytes(part.type, count)), '\x11');
      }
      file.data.resize((file.data.size() + 31) / 32 * 32, '\0');
    }
    return gguf_bytes(file);
  }
};

class LanguageGguf : public ::testing::Test {
 protected:
  LanguageFolder open(const Model& model, const std::string& name = "model.gguf") {
    write_quickly(folder_ / name, model.bytes());
    return LanguageFolder::open(folder_ / name);
  }
  std::string complaint(const Model& model) {
    return load_error([&] { open(model); });
  }
  std::string complaint(const std::function<void(Model&)>& change) {
    Model model;
    change(model);
    return complaint(model);
  }

  TemporaryFolder folder_;
};

void expect_complaint(const std::string& complaint, std::string_view what) {
  EXPECT_NE(complaint.find(what), std::string::npos) << complaint;
  EXPECT_NE(complaint.find("; "), std::string::npos) << complaint;
}

TEST_F(LanguageGguf, GivesConfigAndTensorsUnderTransformersNames) {
  const auto model = open(Model());
  const auto& config = model.config();
  EXPECT_TRUE(model.is_gguf());
  EXPECT_EQ(config.architecture, "LlamaForCausalLM");
  EXPECT_EQ(config.vocab_size, 6);
  EXPECT_EQ(config.hidden_size, 32);
  EXPECT_EQ(config.intermediate_size, 64);
  EXPECT_EQ(config.num_hidden_layers, 1);
  EXPECT_EQ(config.num_attention_heads, 4);
  EXPECT_EQ(config.num_key_value_heads, 2);
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.max_position_embeddings, 256);
  EXPECT_EQ(config.rms_norm_eps, double{1e-5F});
  EXPECT_EQ(config.rope_theta, 1e5);
  EXPECT_TRUE(config.tie_word_embeddings);
  EXPECT_FALSE(config.qkv_bias);
  EXPECT_EQ(model.tensors().size(), 11u);
  EXPECT_EQ(model.tensor("model.embed_tokens.weight").type, BlockType::q8_0);
  EXPECT_EQ(model.tensor("model.layers.0.mlp.down_proj.weight").shape,
            (std::vector<int64_t>{32, 64}));
  EXPECT_EQ(model.bos_token_id(), 1);
  // The one that the metadata names, and the one known by its text.
  EXPECT_EQ(model.eos_token_ids(), (std::vector<int64_t>{2, 4}));
  EXPECT_EQ(model.files(), std::vector<fs::path>{folder_ / "model.gguf"});
}

// transformers' order of a head's rows is first halves, then second halves; ggml's is pairs.
TEST_F(LanguageGguf, PutsLlamasRotatedRowsInTransformersOrder) {
  const auto model = open(Model());
  const auto& keys = model.tensor("model.layers.0.self_attn.k_proj.weight");
  std::vector<int64_t> order;
  for (int64_t row = 0; row < 16; ++row) order.push_back(keys.stored_row(row));
  EXPECT_EQ(order, (std::vector<int64_t>{0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15}));
  std::vector<float> rows(3 * 32);
  read_rows_float32(keys, 3, 3, rows.data());
  EXPECT_EQ(rows[0], 6 * 32 + 1);
  EXPECT_EQ(rows[32], 1 * 32 + 1);
  EXPECT_EQ(rows[64], 3 * 32 + 1);
  const auto& values = model.tensor("model.layers.0.self_attn.v_proj.weight");
  EXPECT_EQ(values.stored_row(3), 3);
}

TEST_F(LanguageGguf, PutsLlamasRotatedBiasesInOrderToo) {
  Model with_bias;
  for (const char* name : {"q", "k", "v"})
    with_bias.parts.push_back(
        {"blk.0.attn_" + std::string(name) + ".bias", {*name == 'q' ? 32 : 16}});
  const auto model = open(with_bias);
  EXPECT_TRUE(model.config().qkv_bias);
  std::vector<float> bias(16);
  read_rows_float32(model.tensor("model.layers.0.self_attn.k_proj.bias"), 0, 1, bias.data());
  EXPECT_EQ(bias, (std::vector<float>{1, 3, 5, 7, 2, 4, 6, 8, 9, 11, 13, 15, 10, 12, 14, 16}));
}

TEST_F(LanguageGguf, LeavesQwen2sRowsAsTheyAre) {
  const auto model = open(Model("qwen2"));
  EXPECT_EQ(model.config().architecture, "Qwen2ForCausalLM");
  EXPECT_TRUE(model.config().qkv_bias);
  EXPECT_EQ(model.tensor("model.layers.0.self_attn.q_proj.weight").stored_row(3), 3);
  std::vector<float> bias(16);
  read_rows_float32(model.tensor("model.layers.0.self_attn.k_proj.bias"), 0, 1, bias.data());
  EXPECT_EQ(bias[1], 2.0F);
}

TEST_F(LanguageGguf, TakesAnOwnHeadAndAVocabularySize) {
  Model model;
  model.size("vocab_size", 6);
  model.parts.push_back({"output.weight", {32, 6}});
  EXPECT_FALSE(open(model).config().tie_word_embeddings);
  model.size("vocab_size", 7);
  expect_complaint(complaint(model), "lm_head.weight is [6, 32], expected [7, 32]");
}

TEST_F(LanguageGguf, ReadsRopeScalings) {
  using Kind = RopeScaling::Kind;
  Model linear;
  linear.text("rope.scaling.type", "linear");
  linear.number("rope.scaling.factor", 2.5F);
  EXPECT_EQ(open(linear).config().rope_scaling.kind, Kind::linear);
  EXPECT_EQ(open(linear).config().rope_scaling.factor, 2.5);
  Model early;
  early.number("rope.scale_linear", 4.0F);
  EXPECT_EQ(open(early).config().rope_scaling.factor, 4.0);
  Model yarn;
  yarn.text("rope.scaling.type", "yarn");
  yarn.number("rope.scaling.factor", 4.0F);
  yarn.size("rope.scaling.original_context_length", 64);
  auto scaling = open(yarn).config().rope_scaling;
  EXPECT_EQ(scaling.kind, Kind::yarn);
  EXPECT_EQ(scaling.factor, 4.0);
  EXPECT_EQ(scaling.original_max_position_embeddings, 64);
  EXPECT_EQ(scaling.attention_factor, 0.0);
  yarn.number("rope.scaling.attn_factor", 2.0F);
  EXPECT_DOUBLE_EQ(open(yarn).config().rope_scaling.attention_factor, 2 * 1.138629436111989);
  Model factors;
  factors.parts.push_back({"rope_freqs.weight", {4}});
  EXPECT_EQ(open(factors).config().rope_scaling.frequency_factors,
            (std::vector<float>{1, 2, 3, 4}));
  factors.part("rope_freqs.weight").ne = {5};
  expect_complaint(complaint(factors), "rope_freqs.weight has 5 elements");
  expect_complaint(complaint([](Model& m) { m.text("rope.scaling.type", "longrope"); }),
                   "'llama.rope.scaling.type' is 'longrope', which is not supported");
}

TEST_F(LanguageGguf, RefusesOtherArchitecturesAndParts) {
  Model other("gemma3");
  expect_complaint(complaint(other),
                   "its architecture is 'gemma3', which is not supported; give a Qwen2 or Llama");
  expect_complaint(complaint([](Model& m) { m.size("expert_count", 8); }), "mixture of experts");
  expect_complaint(complaint([](Model& m) { m.set(gguf_u32("split.count", 3), "split.count"); }),
                   "one part of a GGUF split into 3; merge its parts: llama-gguf-split --merge");
  expect_complaint(complaint([](Model& m) { m.keys.erase("general.architecture"); }),
                   "lacks the metadata key 'general.architecture'");
}

TEST_F(LanguageGguf, BoundsEverySize) {
  for (const char* key :
       {"block_count", "context_length", "embedding_length", "feed_forward_length",
        "attention.head_count", "attention.head_count_kv"}) {
    const std::string name = "'llama." + std::string(key) + "'";
    expect_complaint(complaint([&](Model& m) { m.size(key, 0); }), name + " is 0, not between");
    expect_complaint(complaint([&](Model& m) { m.size(key, 0xffffffff); }),
                     name + " is 4294967295");
    expect_complaint(complaint([&](Model& m) { m.text(key, "4"); }), name + " is string, not an");
    if (std::string_view(key) != "attention.head_count_kv")
      expect_complaint(complaint([&](Model& m) { m.keys.erase(key); }), "lacks the metadata key");
  }
  expect_complaint(complaint([](Model& m) { m.size("attention.head_count_kv", 3); }),
                   "4 attention heads can't share 3");
  expect_complaint(complaint([](Model& m) { m.size("attention.head_count", 5); }),
                   "can't be shared by 5");
  expect_complaint(complaint([](Model& m) { m.size("rope.dimension_count", 4); }),
                   "'llama.rope.dimension_count' is 4, which is not supported for heads of 8");
  expect_complaint(complaint([](Model& m) { m.number("rope.freq_base", -1.0F); }),
                   "not a number above 0");
  expect_complaint(complaint([](Model& m) {
                     m.set(gguf_u32("tokenizer.ggml.eos_token_id", 6),
                           "tokenizer.ggml.eos_token_id");
                   }),
                   "'tokenizer.ggml.eos_token_id' is 6, outside the vocabulary of 6");
}

TEST_F(LanguageGguf, ListsAllThatDoesNotAgreeAtOnce) {
  const std::string text = complaint([](Model& m) {
    m.part("blk.0.attn_k.weight").ne = {32, 32};
    m.part("blk.0.ffn_norm.weight").name = "blk.00.ffn_norm.weight";
    m.parts.push_back({"model.layers.0.mlp.up_proj.weight", {32, 64}});
  });
  expect_complaint(text, "4 tensors do not match the model");
  expect_complaint(text, "self_attn.k_proj.weight is [32, 32], expected [16, 32]");
  expect_complaint(text, "1 missing (model.layers.0.post_attention_layernorm.weight [32])");
  expect_complaint(text, "blk.00.ffn_norm.weight");
}

// Sound files with other sizes, names and ids than their tensors have.
TEST_F(LanguageGguf, SurvivesMutations) {
  const std::string sound = Model().bytes();
  const size_t header = sound.find("output_norm.weight") + 32;
  std::mt19937 random(20231107);
  int refused = 0;
  for (int i = 0; i < 1000; ++i) {
    std::string bytes = sound;
    for (int edits = 0; edits < 2; ++edits)
      bytes[random() % header] = static_cast<char>(random() % 3 == 0 ? 0 : random());
    fs::remove(folder_ / "model.gguf");
    write_quickly(folder_ / "model.gguf", bytes);
    try {
      const auto model = LanguageFolder::open(folder_ / "model.gguf");
      for (const auto& [name, tensor] : model.tensors()) {
        std::vector<float> values(static_cast<size_t>(tensor.rows() * tensor.columns()));
        read_rows_float32(tensor, 0, tensor.rows(), values.data());
      }
    } catch (const LoadError& error) {
      EXPECT_FALSE(error.mend().empty());
      ++refused;
    }
  }
  EXPECT_GT(refused, 500);
  EXPECT_LT(refused, 1000);
}

TEST_F(LanguageGguf, OpensAFolderThatHoldsOne) {
  open(Model(), "one/a.gguf");
  const auto model = LanguageFolder::open(folder_ / "one");
  EXPECT_EQ(model.files(), std::vector<fs::path>{folder_ / "one/a.gguf"});
  EXPECT_TRUE(is_language_model(folder_ / "one"));
  open(Model(), "one/b.gguf");
  expect_complaint(load_error([&] { LanguageFolder::open(folder_ / "one"); }),
                   "has 2 GGUF files: a.gguf, b.gguf; give one of them");
  open(Model(), "split/m-00001-of-00002.gguf");
  open(Model(), "split/m-00002-of-00002.gguf");
  expect_complaint(load_error([&] { LanguageFolder::open(folder_ / "split"); }),
                   "llama-gguf-split --merge m-00001-of-00002.gguf");
  EXPECT_FALSE(is_language_model(folder_ / "absent"));
  EXPECT_FALSE(is_language_model(folder_.path()));
}

TEST_F(LanguageGguf, HasTheSameFingerprintUnderAnyName) {
  ::setenv("XDG_CACHE_HOME", (folder_ / "cache").c_str(), 1);
  const auto model = open(Model(), "one/a.gguf");
  const std::string first = fingerprint(model);
  EXPECT_EQ(known_fingerprint(model), first);
  EXPECT_EQ(fingerprint(open(Model(), "b.gguf")), first);
  Model other;
  other.number("rope.freq_base", 1e4F);
  EXPECT_NE(fingerprint(open(other, "c.gguf")), first);
  ::unsetenv("XDG_CACHE_HOME");
}

TEST_F(LanguageGguf, IsInspectedAndFound) {
  Model licensed;
  licensed.set(gguf_text("general.license", "apache-2.0"), "general.license");
  open(licensed, "shelf/folder/a.gguf");
  open(licensed, "shelf/b.gguf");
  EXPECT_EQ(find_models(folder_ / "shelf"),
            (std::vector<fs::path>{folder_ / "shelf/b.gguf", folder_ / "shelf/folder"}));
  const auto summary = inspect_model(folder_ / "shelf/folder");
  EXPECT_EQ(summary.kind, "GGUF");
  EXPECT_EQ(summary.pipeline_class, "LlamaForCausalLM");
  EXPECT_EQ(summary.licence, "apache-2.0");
  EXPECT_TRUE(summary.problems.empty());
  ASSERT_EQ(summary.components.size(), 1u);
  EXPECT_EQ(summary.components[0].dtypes.at("Q8_0"), 6 * 32);
  EXPECT_EQ(summary.components[0].dtypes.at("Q4_1"), 32 * 32);
  const Json json = to_json(summary);
  EXPECT_EQ(json["language"]["context"], 256);
  EXPECT_EQ(json["language"]["key_value_bytes_per_token"]["float32"], 2 * 1 * 2 * 8 * 4);
  EXPECT_EQ(json["memory"]["as_stored"], summary.bytes());
}

}  // namespace
}  // namespace backlot
