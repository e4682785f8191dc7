// The tensors of one network, wherever its folder or file keeps them. No LibTorch here.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weights/safetensors.h"

namespace backlot {

// What to do about weights that come as a pickle: reading one can run code, so backlot never does.
inline constexpr std::string_view convert_pickles =
    "get the model's .safetensors files, or convert it where you trust it: python3 -c \"from "
    "diffusers import DiffusionPipeline as P; P.from_pretrained('OLD').save_pretrained('NEW')\"";

// Names to tensors, from one safetensors file, from shards with an index, or from a part of a
// single-file checkpoint whose original names were translated to diffusers'.
class Checkpoint {
 public:
  // `stem` is "diffusion_pytorch_model" or "model". With `variant` "fp16" the files are
  // STEM.fp16.safetensors or their shards, and nothing else will do; without, the plain ones.
  // Throws LoadError: nothing there (names what is, and the safetensors way if only pickles are),
  // a shard missing, a tensor named by the index but not in its shard.
  static Checkpoint open(const std::filesystem::path& folder, std::string_view stem,
                         const std::optional<std::string>& variant = std::nullopt);

  // One safetensors file, whatever its name. Throws LoadError.
  static Checkpoint open_file(const std::filesystem::path& path);

  const TensorView* find(std::string_view name) const;
  const std::map<std::string, TensorView, std::less<>>& tensors() const { return tensors_; }
  const std::string& where() const { return where_; }  // the file or folder, for messages
  const std::vector<std::filesystem::path>& files() const { return paths_; }

  // The same files under other names.
  Checkpoint with_tensors(std::map<std::string, TensorView, std::less<>> tensors) const;

  // The variants for which `folder` has weights, "" for the plain ones first.
  static std::vector<std::string> variants(const std::filesystem::path& folder,
                                           std::string_view stem);

  // For readers of other layouts.
  Checkpoint(std::string where, std::vector<std::shared_ptr<const SafetensorsFile>> files,
             std::map<std::string, TensorView, std::less<>> tensors);

 private:
  std::string where_;
  std::vector<std::shared_ptr<const SafetensorsFile>> files_;  // keep the mappings alive
  std::vector<std::filesystem::path> paths_;
  std::map<std::string, TensorView, std::less<>> tensors_;
};

}  // namespace backlot
