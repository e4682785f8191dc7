// A model as people have it on disk: a diffusers folder or one SDXL checkpoint file. Reads configs
// and headers only; milliseconds, whatever the size. No LibTorch here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "weights/checkpoint.h"

namespace backlot {

class ModelFolder {
 public:
  // A folder with model_index.json, or a .safetensors file with an SDXL checkpoint under its
  // original names (its configs are then SDXL's published ones). Throws LoadError.
  static ModelFolder open(const std::filesystem::path& path);

  // "sdxl", "sdxl-turbo", "wan-1.3b" or "wan-14b" as published, but for weights and Wan's tokenizer.
  static ModelFolder published(std::string_view architecture);

  const std::filesystem::path& path() const { return path_; }
  bool single_file() const { return single_file_ != nullptr; }
  const Json& index() const { return index_; }  // model_index.json
  std::string pipeline_class() const;           // "StableDiffusionXLPipeline"
  bool has(std::string_view component) const;   // named in the index and not null

  // component/config.json (scheduler/scheduler_config.json). Throws LoadError with file and place.
  Json config(std::string_view component) const;

  // The component's tensors under diffusers' names. Throws LoadError: damaged or not there.
  Checkpoint checkpoint(std::string_view component,
                        const std::optional<std::string>& variant = std::nullopt) const;

  // Where vocab.json and merges.txt lie. For a single file: the full CLIP vocabulary that backlot
  // ships, or tokenizer/ beside the file if there is one.
  std::filesystem::path tokenizer_folder(std::string_view component) const;

  // Every file that decides a picture, for fingerprints: configs, weights, vocabularies.
  std::vector<std::filesystem::path> files(const std::optional<std::string>& variant) const;

  // The folder of a component, or the single file.
  std::filesystem::path component_path(std::string_view component) const;

  // The name before .safetensors of a component's weights: transformers' networks have another.
  std::string_view stem(std::string_view component) const;

  // The components that backlot reads, as the index lists them: without what only classifies or
  // describes pictures (safety_checker, feature_extractor, image_encoder).
  std::vector<std::string> components() const;

  // A licence file in the folder (LICENSE, LICENSE.md, …), relative to it.
  std::optional<std::string> licence() const;

 private:
  std::filesystem::path path_;
  std::shared_ptr<const SafetensorsFile> single_file_;
  Json index_;
  bool published_ = false;
};

// The name of a licence file directly in `folder`.
std::optional<std::string> licence_file(const std::filesystem::path& folder);

// SHA-256 over the names and contents of files(), contents as a list of the SHA-256 of their 64 MiB
// pieces so that several cores share a large file (about 1 GB/s each). Cached by path, size, inode
// and modification time under $XDG_CACHE_HOME/backlot (default ~/.cache/backlot). The same model in
// another folder has the same fingerprint. Throws LoadError.
std::string fingerprint(const ModelFolder& model, const std::optional<std::string>& variant);

// The same if it is known from earlier, in milliseconds; nothing if files would have to be read.
std::optional<std::string> known_fingerprint(const ModelFolder& model,
                                             const std::optional<std::string>& variant);

}  // namespace backlot
