#include "weights/model_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "base/error.h"
#include "base/install.h"
#include "base/text.h"
#include "weights/json_file.h"
#include "weights/sdxl_file.h"
#include "weights/sdxl_names.h"
#include "weights/wan_configs.h"

namespace backlot {
namespace {

constexpr std::string_view index_name = "model_index.json";
constexpr std::string_view again = "download the model again";

// Files of a tokenizer's folder that decide its ids.
constexpr std::array tokenizer_files = {
    "added_tokens.json", "merges.txt", "special_tokens_map.json", "spiece.model",
    "tokenizer.json",    "vocab.json", "tokenizer_config.json"};

constexpr std::array<std::string_view, 3> unread = {"safety_checker", "feature_extractor",
                                                    "image_encoder"};

[[noreturn]] void refuse_file(const fs::path& path) {
  const std::string extension = path.extension().string();
  if (extension == ".ckpt" || extension == ".pt" || extension == ".pth" || extension == ".bin")
    throw LoadError(path.string(), "this is a pickle, which can run code when it is read",
                    std::string(convert_pickles));
  if (extension == ".gguf")
    throw LoadError(path.string(), "a picture model is not read from GGUF",
                    "give a diffusers folder or an SDXL checkpoint in .safetensors");
  throw LoadError(path.string(), "not a model",
                  "give a folder with model_index.json or an SDXL checkpoint in .safetensors");
}

// Says what a folder without model_index.json is.
[[noreturn]] void refuse_folder(const fs::path& path) {
  const auto refuse = [&](std::string what, std::string mend) {
    throw LoadError(path.string(), std::move(what), std::move(mend));
  };
  if (fs::exists(path / "snapshots"))
    refuse("this is an entry of the Hugging Face cache",
           "give the folder inside its snapshots/, or a copy made with hf download --local-dir");
  if (fs::exists(path / "config.json")) {
    const Json config = read_json_file(path / "config.json");
    if (config.contains("_class_name") && config["_class_name"].is_string())
      refuse(fmt::format("this is one component ({}) of a model",
                         config["_class_name"].get<std::string>()),
             "give the folder above it, which has model_index.json");
    if (config.contains("model_type") && config["model_type"].is_string())
      refuse(fmt::format("this is a transformers folder of type '{}', not a picture model",
                         config["model_type"].get<std::string>()),
             "give a diffusers folder, which has model_index.json");
  }
  std::error_code error;
  for (fs::directory_iterator entry(path, error), end; !error && entry != end;
       entry.increment(error)) {
    const fs::path name = entry->path().filename();
    if (name.extension() == ".safetensors")
      refuse(fmt::format("no model_index.json here, but {}", name.string()),
             fmt::format("give {} itself if it is an SDXL checkpoint", name.string()));
    if (name.extension() == ".ckpt")
      refuse(fmt::format("no model_index.json here, only {}, a pickle", name.string()),
             std::string(convert_pickles));
  }
  throw LoadError(path.string(), "no model_index.json here",
                  "give a diffusers folder or an SDXL checkpoint file");
}

// ["diffusers", "AutoencoderKL"]; [null, null] stands for a component that is not there.
bool is_component(const Json& entry) {
  return entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string();
}

Json read_index(const fs::path& path) {
  Json index = read_json_file(path / index_name);
  const auto fail = [&](std::string what) {
    throw LoadError((path / index_name).string(), std::move(what), std::string(again));
  };
  if (!index.is_object()) fail("not a JSON object");
  if (!index.contains("_class_name") || !index["_class_name"].is_string())
    fail("names no pipeline (_class_name)");
  for (const auto& [name, entry] : index.items())
    // A component's name is its folder's: it must not lead elsewhere.
    if (is_component(entry) && (name.empty() || name.find_first_of("/\\.") != std::string::npos))
      fail(fmt::format("'{}' is not a component's name", name));
  return index;
}

// Autoencoders saved by early diffusers: attention under its old names, as 1x1 convolutions.
Checkpoint with_current_names(const Checkpoint& checkpoint) {
  auto tensors = checkpoint.tensors();
  for (const auto& [name, view] : checkpoint.tensors()) {
    std::string current = current_attention_name(name);
    if (current == name) continue;
    auto node = tensors.extract(name);
    node.key() = std::move(current);
    if (view.shape.size() == 4 && view.shape[2] == 1 && view.shape[3] == 1)
      node.mapped().shape.resize(2);
    tensors.insert(std::move(node));
  }
  return checkpoint.with_tensors(std::move(tensors));
}

}  // namespace

ModelFolder ModelFolder::open(const fs::path& path) {
  ModelFolder model;
  model.path_ = path;
  std::error_code error;
  const auto status = fs::status(path, error);
  if (!fs::exists(status))
    throw LoadError(path.string(),
                    error && status.type() != fs::file_type::not_found
                        ? "cannot be read: " + error.message()
                        : "no such model",
                    "check the path");
  if (fs::is_directory(status)) {
    if (!fs::exists(path / index_name)) refuse_folder(path);
    model.index_ = read_index(path);
    return model;
  }
  if (path.extension() != ".safetensors") refuse_file(path);
  model.single_file_ = std::make_shared<SafetensorsFile>(path);
  check_sdxl_file(*model.single_file_);
  model.index_ = sdxl_index();
  return model;
}

ModelFolder ModelFolder::published(std::string_view architecture) {
  const bool wan = is_published_wan(architecture);
  if (!wan && architecture != "sdxl" && architecture != "sdxl-turbo")
    throw LoadError(std::string(architecture), "no such architecture of pictures or clips",
                    "take sdxl, sdxl-turbo, wan-1.3b or wan-14b, or a model's folder");
  ModelFolder model;
  model.path_ = architecture;
  model.index_ = wan ? wan_index() : sdxl_index();
  model.published_ = true;
  return model;
}

std::string ModelFolder::pipeline_class() const { return index_["_class_name"].get<std::string>(); }

bool ModelFolder::has(std::string_view component) const {
  const auto entry = index_.find(std::string(component));
  return entry != index_.end() && is_component(*entry);
}

std::vector<std::string> ModelFolder::components() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : index_.items())
    if (is_component(entry) && std::ranges::find(unread, name) == unread.end())
      names.push_back(name);
  return names;
}

fs::path ModelFolder::component_path(std::string_view component) const {
  return single_file() ? path_ : path_ / component;
}

std::string_view ModelFolder::stem(std::string_view component) const {
  const bool transformers = has(component) ? index_[std::string(component)][0] != "diffusers"
                                           : component.starts_with("text_encoder");
  return transformers ? "model" : "diffusion_pytorch_model";
}

Json ModelFolder::config(std::string_view component) const {
  if (single_file()) return sdxl_config(*single_file_, component);
  if (published_ && is_published_wan(path_.string()))
    return published_wan_config(component, path_.string());
  if (published_ && component == "scheduler" && path_ == "sdxl-turbo")
    return turbo_scheduler_config();
  if (published_) return published_sdxl_config(component, path_.string());
  const fs::path file = component_path(component) /
                        (component == "scheduler" ? "scheduler_config.json" : "config.json");
  if (!fs::exists(file)) throw LoadError(file.string(), "missing", std::string(again));
  Json config = read_json_file(file);
  if (!config.is_object()) throw LoadError(file.string(), "not a JSON object", std::string(again));
  return config;
}

Checkpoint ModelFolder::checkpoint(std::string_view component,
                                   const std::optional<std::string>& variant) const {
  if (single_file()) return sdxl_component(single_file_, component);
  if (published_)
    throw LoadError(path_.string(), "an architecture has no weights", "give a model's folder");
  auto checkpoint = Checkpoint::open(component_path(component), stem(component), variant);
  return component == "vae" ? with_current_names(checkpoint) : checkpoint;
}

fs::path ModelFolder::tokenizer_folder(std::string_view component) const {
  const fs::path own = (single_file() ? path_.parent_path() : path_) / component;
  if (!published_ && fs::is_directory(own)) return own;
  if (!published_ && !single_file()) throw LoadError(own.string(), "missing", std::string(again));
  // The second encoder's tokenizer pads with "!", the first's with the end-of-text token.
  const fs::path shipped =
      component == "tokenizer_2" ? "models/clip-tokenizer-2" : "models/clip-tokenizer";
  if (const auto found = shipped_file(shipped)) return *found;
  throw LoadError(own.string(), fmt::format("missing, and backlot's {} too", shipped.string()),
                  "put the model's tokenizer folders beside the file, or install backlot again");
}

std::vector<fs::path> ModelFolder::files(const std::optional<std::string>& variant) const {
  std::vector<fs::path> files = {single_file() ? path_ : path_ / index_name};
  for (const auto& name : components()) {
    if (name.starts_with("tokenizer")) {
      const fs::path folder = tokenizer_folder(name);
      for (const auto* file : tokenizer_files)
        if (fs::exists(folder / file)) files.push_back(folder / file);
    } else if (!single_file()) {
      files.push_back(component_path(name) /
                      (name == "scheduler" ? "scheduler_config.json" : "config.json"));
      if (name == "scheduler") continue;
      const auto weights = checkpoint(name, variant).files();
      files.insert(files.end(), weights.begin(), weights.end());
    }
  }
  return files;
}

std::optional<std::string> ModelFolder::licence() const {
  return single_file() ? std::nullopt : licence_file(path_);
}

std::optional<std::string> licence_file(const fs::path& folder) {
  std::vector<std::string> found;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    std::string lower = name;
    std::ranges::transform(lower, lower.begin(),
                           [](unsigned char letter) { return std::tolower(letter); });
    if (lower.starts_with("license") || lower.starts_with("licence") ||
        lower.starts_with("copying"))
      found.push_back(name);
  }
  if (found.empty()) return std::nullopt;
  return *std::ranges::min_element(found);
}

}  // namespace backlot
