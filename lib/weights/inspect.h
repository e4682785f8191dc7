// What a model is, without loading it: for `backlot models`. Reads configs and headers only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "weights/decoder_config.h"

namespace backlot {

struct ComponentSummary {
  std::string name;        // "unet"
  std::string class_name;  // "UNet2DConditionModel"
  int64_t tensors = 0;
  int64_t parameters = 0;
  uint64_t bytes = 0;                     // of the tensors, as stored
  std::map<std::string, int64_t> dtypes;  // parameters by dtype: {"F16", 1234}; GGUF: {"Q4_K", 5}
  std::vector<std::string> variants;      // that the folder has; "" for the plain files
};

struct ModelSummary {
  std::filesystem::path path;
  // "diffusers folder", "SDXL checkpoint file", "transformers folder" or "GGUF"
  std::string kind;
  std::string pipeline_class;  // "StableDiffusionXLPipeline"; a transformers folder's architecture
  std::optional<std::string> variant;        // whose weights were looked at
  std::vector<ComponentSummary> components;  // those with weights
  std::optional<DecoderConfig> language;     // of a language model that backlot reads
  std::optional<std::string> licence;
  std::vector<std::string> problems;  // one line each; empty if all that can be checked is sound

  int64_t parameters() const;
  uint64_t bytes() const;
};

// Without `variant`, a component that has no plain weights is looked at in the one it has. Checks
// every config, shard index and header, collecting what is wrong in `problems`; tensor names and
// shapes are checked when a network is built, a language model's already here. Throws LoadError if
// `path` is no model at all.
ModelSummary inspect_model(const std::filesystem::path& path,
                           const std::optional<std::string>& variant = std::nullopt);

// Folders and files directly in `folder` that look like models, by name.
std::vector<std::filesystem::path> find_models(const std::filesystem::path& folder);

// Bytes that a token's keys and values take, with numbers of this many bytes.
int64_t key_value_bytes(const DecoderConfig& config, int64_t number_bytes);

// With the memory that the weights take at each precision, in bytes.
Json to_json(const ModelSummary& summary);

}  // namespace backlot
