// Language models of some thousand random weights, as a transformers folder and as a GGUF with the
// same numbers.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "weights/gguf_blocks.h"
#include "weights/gguf_bytes.h"
#include "weights/safetensors_bytes.h"

namespace backlot {

class TinyLanguageModel {
 public:
  struct Tensor {
    std::string gguf_name;
    std::vector<int64_t> shape;  // [rows, columns] or [columns]
    BlockType type = BlockType::f32;
    std::string bytes;          // as in the GGUF
    std::vector<float> values;  // as in the folder
  };

  std::string architecture = "qwen2";  // or llama
  int64_t vocabulary = 384, hidden = 64, heads = 4, kv_heads = 2, intermediate = 256, layers = 2;
  int64_t context = 256;
  double rope_theta = 1e4;
  bool tied = true;
  bool biased = false;                     // llama with biases everywhere; the folder's alone
  std::map<std::string, BlockType> types;  // by the end of a transformers' name; else float32
  std::map<std::string, Tensor> tensors;   // by transformers' names
  std::vector<std::string> phrases;        // texts of the tokens after the bytes and the marks

  int64_t head_dim() const { return hidden / heads; }

  // Draws the weights, the same each time.
  void draw() {
    tensors.clear();
    random_.seed(20260131);
    add("model.embed_tokens.weight", "token_embd.weight", {vocabulary, hidden});
    for (int64_t i = 0; i < layers; ++i) draw_layer(i);
    add("model.norm.weight", "output_norm.weight", {hidden});
    if (!tied) add("lm_head.weight", "output.weight", {vocabulary, hidden});
  }

  void write_folder(const fs::path& folder) const {
    const bool qwen = architecture == "qwen2";
    const Json config = {{"architectures", {qwen ? "Qwen2ForCausalLM" : "LlamaForCausalLM"}},
                         {"model_type", architecture},
                         {"vocab_size", vocabulary},
                         {"hidden_size", hidden},
                         {"intermediate_size", intermediate},
                         {"num_hidden_layers", layers},
                         {"num_attention_heads", heads},
                         {"num_key_value_heads", kv_heads},
                         {"hidden_act", "silu"},
                         {"max_position_embeddings", context},
                         {"rms_norm_eps", 1e-5F},
                         {"rope_theta", rope_theta},
                         {"tie_word_embeddings", tied},
                         {"attention_bias", biased},
                         {"mlp_bias", biased}};
    write_quickly(folder / "config.json", config.dump());
    Json header = Json::object();
    std::string buffer;
    for (const auto& [name, tensor] : tensors) {
      const size_t begin = buffer.size();
      for (const float value : tensor.values) buffer += le(value);
      header[name] = {
          {"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {begin, buffer.size()}}};
    }
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');
    write_quickly(folder / "model.safetensors", safetensors_bytes(text, buffer));
  }

  void write_gguf(const fs::path& file) const {
    GgufParts parts;
    parts.keys = keys();
    for (const auto& [name, tensor] : tensors) {
      const std::vector<int64_t> ne(tensor.shape.rbegin(), tensor.shape.rend());
      parts.tensors.push_back(
          gguf_tensor(tensor.gguf_name, ne, static_cast<uint32_t>(tensor.type), parts.data.size()));
      parts.data += tensor.bytes;
      parts.data.resize((parts.data.size() + 31) / 32 * 32, '\0');
    }
    write_quickly(file, gguf_bytes(parts));
  }

  // Draws a model that always says the same, with one of the alternatives at each place, all as
  // likely: a token's embedding chooses what follows it, and the layers add nothing. Every turn of
  // a chat begins after a newline.
  void draw_saying(const std::vector<std::vector<std::string>>& places) {
    tied = false;
    draw();
    phrases.clear();
    for (auto& [name, tensor] : tensors) {
      if (name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight"))
        std::ranges::fill(tensor.values, 0.0F);
      if (name == "model.norm.weight") std::ranges::fill(tensor.values, 1.0F);
    }
    auto& embeddings = tensors.at("model.embed_tokens.weight").values;
    for (float& value : embeddings) value = random_() % 2 ? 1.0F : -1.0F;
    auto& head = tensors.at("lm_head.weight").values;
    std::ranges::fill(head, 0.0F);
    const auto follow = [&](int64_t token, const std::vector<int64_t>& before) {
      for (const int64_t each : before)
        for (int64_t i = 0; i < hidden; ++i)
          head[token * hidden + i] += 0.5F * embeddings[each * hidden + i];
    };
    std::vector<int64_t> before = {'\n'};
    for (const auto& place : places) {
      std::vector<int64_t> here;
      for (const auto& text : place) {
        here.push_back(first_mark + 4 + std::ssize(phrases));
        phrases.push_back(text);
        follow(here.back(), before);
      }
      before = here;
    }
    follow(first_mark + 2, before);  // <|im_end|>
    for (auto& [name, tensor] : tensors) {
      tensor.bytes.clear();
      for (const float value : tensor.values) tensor.bytes += le(value);
    }
  }

 private:
  static constexpr int64_t first_mark = 256;  // after the bytes

  void draw_layer(int64_t i) {
    const std::string at = "model.layers." + std::to_string(i) + ".";
    const std::string in_file = "blk." + std::to_string(i) + ".";
    const int64_t kv = kv_heads * head_dim();
    const auto weight = [&](const std::string& name, const std::string& gguf,
                            std::vector<int64_t> shape) {
      add(at + name, in_file + gguf, std::move(shape));
    };
    weight("input_layernorm.weight", "attn_norm.weight", {hidden});
    weight("self_attn.q_proj.weight", "attn_q.weight", {hidden, hidden});
    weight("self_attn.k_proj.weight", "attn_k.weight", {kv, hidden});
    weight("self_attn.v_proj.weight", "attn_v.weight", {kv, hidden});
    weight("self_attn.o_proj.weight", "attn_output.weight", {hidden, hidden});
    weight("post_attention_layernorm.weight", "ffn_norm.weight", {hidden});
    weight("mlp.gate_proj.weight", "ffn_gate.weight", {intermediate, hidden});
    weight("mlp.up_proj.weight", "ffn_up.weight", {intermediate, hidden});
    weight("mlp.down_proj.weight", "ffn_down.weight", {hidden, intermediate});
    if (biased) {
      weight("self_attn.o_proj.bias", "", {hidden});
      weight("mlp.gate_proj.bias", "", {intermediate});
      weight("mlp.up_proj.bias", "", {intermediate});
      weight("mlp.down_proj.bias", "", {hidden});
    }
    if (architecture != "qwen2" && !biased) return;
    weight("self_attn.q_proj.bias", "attn_q.bias", {hidden});
    weight("self_attn.k_proj.bias", "attn_k.bias", {kv});
    weight("self_attn.v_proj.bias", "attn_v.bias", {kv});
  }

  BlockType type_of(const std::string& name) const {
    for (const auto& [end, type] : types)
      if (name.ends_with(end)) return type;
    return BlockType::f32;
  }

  void add(const std::string& name, const std::string& gguf_name, std::vector<int64_t> shape) {
    Tensor tensor{gguf_name, std::move(shape), type_of(name), {}, {}};
    int64_t count = 1;
    for (const int64_t length : tensor.shape) count *= length;
    const int64_t blocks = count / block_elements(tensor.type);
    for (int64_t i = 0; i < blocks; ++i) tensor.bytes += block(name, tensor);
    tensor.values.resize(count);
    dequantize(tensor.type, std::as_bytes(std::span(tensor.bytes)), tensor.values.data(), count);
    const bool turned = name.ends_with("q_proj.weight") || name.ends_with("k_proj.weight");
    if (architecture == "llama" && turned) unturn(tensor);
    tensors[name] = std::move(tensor);
  }

  // llama.cpp has the two numbers of a head that turn together side by side, transformers half a
  // head apart.
  void unturn(Tensor& tensor) const {
    const int64_t width = tensor.shape[1], half = head_dim() / 2;
    const auto stored = tensor.values;
    for (int64_t row = 0; row < tensor.shape[0]; ++row) {
      const int64_t head = row / head_dim(), within = row % head_dim();
      const int64_t from = head * head_dim() + 2 * (within % half) + within / half;
      std::copy_n(stored.begin() + from * width, width, tensor.values.begin() + row * width);
    }
  }

  float number(double spread) {
    return static_cast<float>(spread * std::sqrt(12.0) * (random_() / 4294967296.0 - 0.5));
  }
  std::string noise(int64_t count) {
    std::string bytes;
    while (std::ssize(bytes) < count) bytes += static_cast<char>(random_() & 0xFF);
    return bytes;
  }
  // A float16 from 2^exponent up to twice that.
  std::string half(int exponent) {
    return le(static_cast<uint16_t>((15 + exponent) << 10 | (random_() & 0x3FF)));
  }

  // Any codes; scales that make weights of about 0.2, so that no layer drowns or explodes.
  std::string block(const std::string& name, const Tensor& tensor) {
    switch (tensor.type) {
      case BlockType::f16:
        return le(static_cast<uint16_t>(0x3000 | (random_() & 0x83FF)));
      case BlockType::q8_0:
        return half(-9) + noise(32);
      case BlockType::q4_0:
        return half(-5) + noise(16);
      case BlockType::q4_1:
        return half(-5) + le(static_cast<uint16_t>(0xB000 | (random_() & 0x3FF))) + noise(16);
      case BlockType::q6_k: {
        std::string bytes = noise(192);
        for (int i = 0; i < 16; ++i) bytes += static_cast<char>(20 + random_() % 40);
        return bytes + half(-12);
      }
      default:
        if (name.ends_with("norm.weight")) return le(1.0F + number(0.2));
        return le(number(name.ends_with("bias") ? 0.5 : 0.15));
    }
  }

  // Bytes in the letters that GPT-2's vocabulary spells them with.
  static std::string spelled(std::string_view text) {
    std::string word;
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      const bool plain = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
      int code = byte;
      if (!plain) code = 256 + (byte <= 32 ? byte : byte <= 160 ? byte - 127 + 33 : 67);
      if (code < 128) {
        word += static_cast<char>(code);
      } else {
        word += static_cast<char>(0xC0 | code >> 6);
        word += static_cast<char>(0x80 | (code & 0x3F));
      }
    }
    return word;
  }

  std::vector<std::string> keys() const {
    const auto named = [&](const char* key) { return architecture + "." + key; };
    const auto size = [&](const char* key, int64_t value) {
      return gguf_u32(named(key), static_cast<uint32_t>(value));
    };
    std::vector<std::string> tokens;
    for (int byte = 0; byte < 256; ++byte)
      tokens.push_back(spelled(std::string(1, static_cast<char>(byte))));
    constexpr auto marks = static_cast<uint32_t>(first_mark);
    for (const char* mark : {"<|endoftext|>", "<|im_start|>", "<|im_end|>", "th"})
      tokens.emplace_back(mark);
    for (const auto& phrase : phrases) tokens.push_back(spelled(phrase));
    while (std::ssize(tokens) < vocabulary)
      tokens.push_back(std::string("<").append(std::to_string(tokens.size())));
    std::string kinds;
    for (uint32_t id = 0; id < tokens.size(); ++id)
      kinds += le<int32_t>(id >= marks && id < marks + 3 ? 3 : 1);
    return {gguf_text("general.architecture", architecture),
            size("block_count", layers),
            size("context_length", context),
            size("embedding_length", hidden),
            size("feed_forward_length", intermediate),
            size("attention.head_count", heads),
            size("attention.head_count_kv", kv_heads),
            size("rope.dimension_count", head_dim()),
            gguf_f32(named("attention.layer_norm_rms_epsilon"), 1e-5F),
            gguf_f32(named("rope.freq_base"), static_cast<float>(rope_theta)),
            gguf_text("tokenizer.ggml.model", "gpt2"),
            gguf_text("tokenizer.ggml.pre", "qwen2"),
            gguf_texts("tokenizer.ggml.tokens", tokens),
            gguf_array("tokenizer.ggml.token_type", 5, tokens.size(), kinds),
            gguf_texts("tokenizer.ggml.merges", {"t h"}),
            gguf_u32("tokenizer.ggml.bos_token_id", marks),
            gguf_u32("tokenizer.ggml.eos_token_id", marks + 2)};
  }

  std::mt19937 random_;
};

}  // namespace backlot
