#include "weights/language_folder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

#include "base/error.h"
#include "weights/decoder_config_reader.h"
#include "weights/decoder_tensors.h"
#include "weights/json_file.h"
#include "weights/mismatches.h"
#include "weights/model_folder.h"

namespace backlot {
namespace {

constexpr std::string_view stem = "model";

constexpr std::string_view convert_language_pickles =
    "get the model's .safetensors files, or convert it where you trust it: python3 -c \"from "
    "transformers import AutoModelForCausalLM as M; "
    "M.from_pretrained('OLD').save_pretrained('NEW')\"";

// Files beside the weights that decide a text.
constexpr std::array companions = {"config.json",
                                   "generation_config.json",
                                   "tokenizer.json",
                                   "vocab.json",
                                   "merges.txt",
                                   "added_tokens.json",
                                   "tokenizer_config.json",
                                   "special_tokens_map.json",
                                   "chat_template.jinja",
                                   "chat_template.json"};

// Texts of tokens that end a turn or a document, in the models that backlot reads. A GGUF names one
// or two of them; llama.cpp knows the others by their texts as well.
constexpr std::array<std::string_view, 6> ending_tokens = {
    "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|end|>"};

[[noreturn]] void refuse(const fs::path& path, std::string what, std::string mend) {
  throw LoadError(path.string(), std::move(what), std::move(mend));
}

// Not there, or in a folder that can't be looked into: reading it says which.
bool has_file(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

bool is_pickle(const fs::path& path) {
  const fs::path extension = path.extension();
  return extension == ".bin" || extension == ".pt" || extension == ".pth" || extension == ".ckpt";
}

// Names of the folder's files, sorted.
std::vector<fs::path> names_in(const fs::path& folder) {
  std::vector<fs::path> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error))
    names.push_back(entry->path().filename());
  if (error) refuse(folder, "cannot read the folder: " + error.message(), "check its permissions");
  std::ranges::sort(names);
  return names;
}

std::vector<fs::path> ggufs_in(const fs::path& folder) {
  auto names = names_in(folder);
  std::erase_if(names, [](const fs::path& name) { return name.extension() != ".gguf"; });
  return names;
}

bool has_safetensors(const fs::path& folder) { return !Checkpoint::variants(folder, stem).empty(); }

// Says what a folder without safetensors and GGUF is.
[[noreturn]] void refuse_folder(const fs::path& path) {
  if (has_file(path / "snapshots"))
    refuse(path, "this is an entry of the Hugging Face cache",
           "give the folder inside its snapshots/, or a copy made with hf download --local-dir");
  if (has_file(path / "model_index.json"))
    refuse(path, "this is a picture model, not a language model",
           "give a transformers folder or a GGUF of a chat model");
  for (const auto& name : names_in(path))
    if (is_pickle(name))
      refuse(path, fmt::format("has no .safetensors, only {}, a pickle", name.string()),
             std::string(convert_language_pickles));
  if (has_file(path / "config.json"))
    refuse(path, "has a config.json but no weights (model.safetensors)",
           "download the model again");
  refuse(path, "no language model here",
         "give a folder with config.json and .safetensors, or a GGUF");
}

fs::path only_gguf(const fs::path& folder) {
  const auto names = ggufs_in(folder);
  if (names.empty()) refuse_folder(folder);
  if (names.size() > 1) {
    std::vector<std::string> texts;
    for (const auto& name : names) texts.push_back(name.string());
    const auto listed = texts.begin() + std::min<std::ptrdiff_t>(8, std::ssize(texts));
    const bool split = texts.front().find("-of-") != std::string::npos;
    refuse(folder,
           fmt::format("has {} GGUF files: {}{}", texts.size(),
                       fmt::join(texts.begin(), listed, ", "), listed == texts.end() ? "" : ", …"),
           split
               ? fmt::format("merge the parts of one model: llama-gguf-split --merge {} WHOLE.gguf",
                             texts.front())
               : "give one of them, by its path");
  }
  return folder / names.front();
}

[[noreturn]] void refuse_file(const fs::path& path) {
  if (is_pickle(path))
    refuse(path, "this is a pickle, which can run code when it is read",
           std::string(convert_language_pickles));
  if (path.extension() == ".safetensors")
    refuse(path, "a language model's weights without its config",
           "give the folder that holds them, with config.json and the tokenizer");
  refuse(path, "not a language model",
         "give a folder with config.json and .safetensors, or a GGUF");
}

std::string shape_text(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

// The tensors must be what the config's sizes ask for, no fewer and no more.
void check_tensors(const LanguageFolder& model, Mismatches mismatches) {
  auto left = model.tensors();
  for (const auto& expected : decoder_tensors(model.config())) {
    const auto found = left.find(expected.name);
    if (found == left.end()) {
      mismatches.missing.push_back(expected.name + " " + shape_text(expected.shape));
      continue;
    }
    if (found->second.shape != expected.shape)
      mismatches.misshapen.push_back(fmt::format("{} is {}, expected {}", expected.name,
                                                 shape_text(found->second.shape),
                                                 shape_text(expected.shape)));
    left.erase(found);
  }
  for (const auto& [name, tensor] : left) mismatches.unused.push_back(name);
  if (mismatches.empty()) return;
  refuse(model.path(), mismatches.text(),
         model.is_gguf() ? "its metadata and its tensors belong to different models; download it "
                           "again, or get it from another source"
                         : "its config.json and its weights belong to different models; download "
                           "both again, from the same place");
}

std::optional<BlockType> plain_type(DType dtype) {
  if (dtype == DType::f32) return BlockType::f32;
  if (dtype == DType::f16) return BlockType::f16;
  if (dtype == DType::bf16) return BlockType::bf16;
  return std::nullopt;
}

void check_token(const std::string& where, const std::string& key, int64_t id,
                 const DecoderConfig& config) {
  if (id < 0 || id >= config.vocab_size)
    throw LoadError(
        where, fmt::format("'{}' is {}, outside the vocabulary of {}", key, id, config.vocab_size),
        "mend it, or download the model again");
}

// A number or a list of them; nothing if absent or null.
std::vector<int64_t> token_ids(const Json& json, const fs::path& file, const std::string& key,
                               const DecoderConfig& config) {
  std::vector<int64_t> ids;
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return ids;
  for (const auto& id : found->is_array() ? *found : Json::array({*found})) {
    if (!id.is_number_integer())
      refuse(file, fmt::format("'{}' is neither a token nor a list of them", key),
             "mend the file, or download it again");
    check_token(file.string(), key, id.get<int64_t>(), config);
    ids.push_back(id.get<int64_t>());
  }
  return ids;
}

void add_once(std::vector<int64_t>& ids, int64_t id) {
  if (std::ranges::find(ids, id) == ids.end()) ids.push_back(id);
}

std::vector<int64_t> gguf_eos(const GgufFile& file, const DecoderConfig& config) {
  std::vector<int64_t> ids;
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                          "tokenizer.ggml.eom_token_id"})
    if (const auto id = file.find_integer(key)) {
      check_token(file.path().string(), key, *id, config);
      add_once(ids, *id);
    }
  if (!file.has("tokenizer.ggml.tokens")) return ids;
  const auto texts = file.texts("tokenizer.ggml.tokens");
  for (size_t id = 0; id < texts.size(); ++id)
    if (std::cmp_less(id, config.vocab_size) &&
        std::ranges::find(ending_tokens, texts[id]) != ending_tokens.end())
      add_once(ids, static_cast<int64_t>(id));
  return ids;
}

// ggml's llama rotates neighbouring rows, so its converter interleaves the halves of each head.
int64_t interleaved_head_dim(const DecoderConfig& config, std::string_view name) {
  const bool rotated = name.find(".q_proj.") != std::string_view::npos ||
                       name.find(".k_proj.") != std::string_view::npos;
  return rotated && config.architecture == "LlamaForCausalLM" ? config.head_dim : 0;
}

// A head that is stored although it is tied counts only if it differs, as in transformers 5.
void settle_tied_head(DecoderConfig& config,
                      std::map<std::string, LanguageTensor, std::less<>>& tensors) {
  if (!config.tie_word_embeddings) return;
  const auto head = tensors.find("lm_head.weight");
  const auto embedding = tensors.find("model.embed_tokens.weight");
  if (head == tensors.end() || embedding == tensors.end()) return;
  if (head->second.type == embedding->second.type &&
      std::ranges::equal(head->second.bytes, embedding->second.bytes)) {
    tensors.erase(head);
  } else {
    config.tie_word_embeddings = false;
  }
}

}  // namespace

int64_t LanguageTensor::stored_row(int64_t row) const {
  if (interleaved_head_dim == 0) return row;
  const int64_t head = row / interleaved_head_dim, within = row % interleaved_head_dim;
  const int64_t half = interleaved_head_dim / 2;
  return head * interleaved_head_dim + 2 * (within % half) + within / half;
}

std::span<const std::byte> LanguageTensor::row(int64_t row) const {
  if (row < 0 || row >= rows()) throw std::out_of_range(fmt::format("{} has no row {}", name, row));
  if (shape.size() != 2) return bytes;
  const auto length = static_cast<size_t>(row_bytes(type, columns()));
  return bytes.subspan(static_cast<size_t>(stored_row(row)) * length, length);
}

void read_rows_float32(const LanguageTensor& tensor, int64_t first_row, int64_t rows, float* out) {
  const int64_t columns = tensor.columns();
  for (int64_t row = first_row; row < first_row + rows; ++row, out += columns) {
    dequantize(tensor.type, tensor.row(row), out, columns);
    if (tensor.shape.size() == 2 || tensor.interleaved_head_dim == 0) continue;
    const std::vector<float> stored(out, out + columns);
    for (int64_t i = 0; i < columns; ++i)
      out[i] = stored[static_cast<size_t>(tensor.stored_row(i))];
  }
}

LanguageFolder LanguageFolder::open(const fs::path& path) {
  LanguageFolder model;
  model.path_ = path;
  std::error_code error;
  const auto status = fs::status(path, error);
  if (!fs::exists(status))
    refuse(path,
           error && status.type() != fs::file_type::not_found ? "cannot be read: " + error.message()
                                                              : "no such model",
           "check the path");
  if (!fs::is_directory(status)) {
    if (path.extension() != ".gguf") refuse_file(path);
    model.open_gguf(path);
  } else if (has_file(path / "config.json") && has_safetensors(path)) {
    model.open_transformers();
  } else {
    model.open_gguf(only_gguf(path));
  }
  return model;
}

void LanguageFolder::open_transformers() {
  const fs::path file = path_ / "config.json", generation = path_ / "generation_config.json";
  const Json json = read_json_file(file);
  config_ = read_decoder_config(json, file);
  checkpoint_ = Checkpoint::open(path_, stem);
  Mismatches mismatches;
  for (const auto& [name, view] : checkpoint_->tensors()) {
    // Kept by old versions of transformers, which now work it out.
    if (name.ends_with(".rotary_emb.inv_freq")) continue;
    const auto type = plain_type(view.dtype);
    if (!type)
      mismatches.misshapen.push_back(
          fmt::format("{} holds {}, expected F32, F16 or BF16", name, dtype_name(view.dtype)));
    LanguageTensor tensor;
    tensor.name = name;
    tensor.shape = view.shape;
    tensor.type = type.value_or(BlockType::f32);
    tensor.bytes = view.bytes;
    tensors_.emplace(name, std::move(tensor));
  }
  settle_tied_head(config_, tensors_);
  check_tensors(*this, std::move(mismatches));
  const Json own = has_file(generation) ? read_json_file(generation) : Json::object();
  if (!own.is_object()) refuse(generation, "not a JSON object", "download it again");
  eos_token_ids_ = token_ids(own, generation, "eos_token_id", config_);
  if (eos_token_ids_.empty()) eos_token_ids_ = token_ids(json, file, "eos_token_id", config_);
  auto bos = token_ids(own, generation, "bos_token_id", config_);
  if (bos.empty()) bos = token_ids(json, file, "bos_token_id", config_);
  if (!bos.empty()) bos_token_id_ = bos.front();
}

void LanguageFolder::open_gguf(const fs::path& file) {
  gguf_ = std::make_shared<GgufFile>(GgufFile::open(file));
  config_ = read_decoder_config(*gguf_);
  Mismatches mismatches;
  for (const auto& [name, stored] : gguf_->tensors()) {
    if (name == "rope_freqs.weight") continue;  // the config has it
    LanguageTensor tensor;
    tensor.name = transformers_name(name).value_or(name);
    tensor.shape = stored.shape;
    tensor.type = stored.type;
    tensor.bytes = stored.bytes;
    tensor.interleaved_head_dim = interleaved_head_dim(config_, tensor.name);
    // A name that was transformers' before.
    if (!tensors_.emplace(tensor.name, tensor).second) mismatches.unused.push_back(name);
  }
  check_tensors(*this, std::move(mismatches));
  eos_token_ids_ = gguf_eos(*gguf_, config_);
  bos_token_id_ = gguf_->find_integer("tokenizer.ggml.bos_token_id");
  if (bos_token_id_)
    check_token(file.string(), "tokenizer.ggml.bos_token_id", *bos_token_id_, config_);
}

const LanguageTensor& LanguageFolder::tensor(std::string_view name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) throw std::out_of_range(fmt::format("no tensor '{}'", name));
  return found->second;
}

std::vector<fs::path> LanguageFolder::files() const {
  if (gguf_) return {gguf_->path()};
  std::vector<fs::path> files;
  for (const char* name : companions)
    if (has_file(path_ / name)) files.push_back(path_ / name);
  const auto& weights = checkpoint_->files();
  files.insert(files.end(), weights.begin(), weights.end());
  return files;
}

std::optional<std::string> LanguageFolder::licence() const {
  if (gguf_ && gguf_->has("general.license")) return std::string(gguf_->text("general.license"));
  return fs::is_directory(path_) ? licence_file(path_) : std::nullopt;
}

bool is_language_model(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return path.extension() == ".gguf" && has_file(path);
  if (has_file(path / "model_index.json")) return false;
  try {
    if (has_file(path / "config.json") && has_safetensors(path)) {
      const Json config = read_json_file(path / "config.json");
      const Json type = config.is_object() ? config.value("model_type", Json()) : Json();
      return type == "qwen2" || type == "llama";
    }
    return !ggufs_in(path).empty();
  } catch (const Error&) {
    return false;
  }
}

}  // namespace backlot
