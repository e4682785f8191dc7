// A language model as people have it on disk: a transformers folder or a GGUF. Reads configs and
// headers only; milliseconds, whatever the size. No LibTorch here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weights/checkpoint.h"
#include "weights/decoder_config.h"
#include "weights/gguf.h"

namespace backlot {

// One tensor as it lies in its file; valid as long as a copy of its LanguageFolder.
struct LanguageTensor {
  std::string name;            // transformers': "model.layers.3.self_attn.q_proj.weight"
  std::vector<int64_t> shape;  // [rows, columns] or [columns]
  BlockType type = BlockType::f32;
  std::span<const std::byte> bytes;
  // Not 0: rows of each head of this size lie as ggml rotates them, pair by pair, where
  // transformers has first all the first halves of pairs. stored_row() says where a row is.
  int64_t interleaved_head_dim = 0;

  int64_t rows() const { return shape.size() == 2 ? shape.front() : 1; }
  int64_t columns() const { return shape.back(); }
  // The place in the file of transformers' row (of a vector: of its element).
  int64_t stored_row(int64_t row) const;
  // The bytes of transformers' row; of a vector all of them, in the file's order.
  std::span<const std::byte> row(int64_t row) const;
};

// Rows [first_row, first_row + rows) of the tensor in transformers' order as float32, columns()
// numbers each. A vector is one row. Throws std::out_of_range.
void read_rows_float32(const LanguageTensor& tensor, int64_t first_row, int64_t rows, float* out);

class LanguageFolder {
 public:
  // A transformers folder (config.json beside .safetensors), a .gguf file, or a folder that holds
  // one. Throws LoadError: no such model, of another architecture, damaged, or tensors that don't
  // agree with the config (all of them listed at once).
  static LanguageFolder open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  bool is_gguf() const { return gguf_ != nullptr; }
  const GgufFile* gguf() const { return gguf_.get(); }  // for tokenizer and chat template
  const DecoderConfig& config() const { return config_; }

  // Every tensor of decoder_tensors(config()), and no other.
  const std::map<std::string, LanguageTensor, std::less<>>& tensors() const { return tensors_; }
  // Throws std::out_of_range.
  const LanguageTensor& tensor(std::string_view name) const;

  // Tokens that end an answer: of generation_config.json, else config.json; of a GGUF what its
  // metadata names and what is known to end a turn or a text. May be empty.
  const std::vector<int64_t>& eos_token_ids() const { return eos_token_ids_; }
  std::optional<int64_t> bos_token_id() const { return bos_token_id_; }

  // Every file that decides a text, for fingerprints: configs, weights, vocabularies.
  std::vector<std::filesystem::path> files() const;

  // A licence file in the folder, relative to it, or what the GGUF says: "apache-2.0".
  std::optional<std::string> licence() const;

 private:
  void open_transformers();
  void open_gguf(const std::filesystem::path& file);

  std::filesystem::path path_;
  std::shared_ptr<const GgufFile> gguf_;
  std::optional<Checkpoint> checkpoint_;
  DecoderConfig config_;
  std::map<std::string, LanguageTensor, std::less<>> tensors_;
  std::vector<int64_t> eos_token_ids_;
  std::optional<int64_t> bos_token_id_;
};

// Whether `path` looks like a language model that LanguageFolder would take or explain: a GGUF, a
// folder with one, or a transformers folder of a supported model_type. Never throws.
bool is_language_model(const std::filesystem::path& path);

// As those of ModelFolder (model_folder.h).
std::string fingerprint(const LanguageFolder& model);
std::optional<std::string> known_fingerprint(const LanguageFolder& model);

}  // namespace backlot
