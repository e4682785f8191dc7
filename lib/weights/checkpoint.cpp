#include "weights/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "base/error.h"
#include "weights/json_file.h"

namespace backlot {
namespace {

using Tensors = std::map<std::string, TensorView, std::less<>>;
using Files = std::vector<std::shared_ptr<const SafetensorsFile>>;

constexpr std::string_view extension = ".safetensors";

// The regular files of a folder, by name.
std::vector<std::string> file_names(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error))
    if (!entry->is_directory(error)) names.push_back(entry->path().filename().string());
  if (error)
    throw LoadError(folder.string(), "cannot read the folder: " + error.message(),
                    "check the path, or download the model again");
  std::ranges::sort(names);
  return names;
}

bool is_pickle(std::string_view name) {
  return name.ends_with(".bin") || name.ends_with(".pt") || name.ends_with(".pth") ||
         name.ends_with(".ckpt");
}

// The variant whose weights, or index of shards, `name` is: "fp16" for STEM.fp16.safetensors, ""
// for STEM.safetensors. nullopt for any other file.
std::optional<std::string> variant_of(std::string_view name, std::string_view stem) {
  if (!name.starts_with(stem)) return std::nullopt;
  std::string_view rest = name.substr(stem.size());
  constexpr std::string_view index = ".safetensors.index";
  std::string_view variant;
  if (rest.starts_with(index) && rest.ends_with(".json")) {
    variant = rest.substr(index.size(), rest.size() - index.size() - 5);
  } else if (rest.ends_with(extension)) {
    variant = rest.substr(0, rest.size() - extension.size());
  } else if (rest.ends_with(".safetensors.index.json")) {
    variant = rest.substr(0, rest.size() - 23);
  } else {
    return std::nullopt;
  }
  if (variant.empty()) return "";
  const bool shard = variant.find("-of-") != std::string_view::npos;
  if (shard || !variant.starts_with('.')) return std::nullopt;
  return std::string(variant.substr(1));
}

[[noreturn]] void throw_missing(const fs::path& folder, std::string_view stem,
                                const std::optional<std::string>& variant) {
  const std::string dotted = variant ? "." + *variant : "";
  const fs::path wanted = folder / fmt::format("{}{}{}", stem, dotted, extension);
  for (const auto& other : Checkpoint::variants(folder, stem))
    throw LoadError(wanted.string(),
                    other.empty() ? "missing; the folder has the weights without a variant"
                                  : fmt::format("missing; the folder has variant '{}'", other),
                    other.empty() ? "leave `variant` out" : fmt::format("set variant: {}", other));
  const auto names = file_names(folder);
  for (const auto& name : names)
    if (is_pickle(name))
      throw LoadError(wanted.string(), fmt::format("missing; found only {}, a pickle", name),
                      std::string(convert_pickles));
  throw LoadError(
      wanted.string(),
      names.empty()
          ? "missing; the folder is empty"
          : fmt::format(
                "missing; the folder has only {}",
                fmt::join(names.begin(),
                          names.begin() + std::min<std::ptrdiff_t>(5, std::ssize(names)), ", ")),
      "download the model again");
}

// A shard is a plain name beside its index, so that an index can't reach other files.
void check_shard_name(const fs::path& index, const std::string& shard) {
  if (shard.find_first_of("/\\") != std::string::npos || !shard.ends_with(extension))
    throw LoadError(index.string(), fmt::format("'{}' is not the name of a shard", shard),
                    "a shard is a .safetensors file beside its index; download the index again");
}

// Tensor name to shard name.
std::map<std::string, std::string> read_weight_map(const fs::path& index) {
  const Json json = read_json_file(index);
  const auto fail = [&](std::string what) {
    throw LoadError(index.string(), std::move(what), "download the index again");
  };
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object())
    fail("has no weight_map");
  std::map<std::string, std::string> map;
  for (const auto& [name, shard] : json["weight_map"].items()) {
    if (!shard.is_string()) fail(fmt::format("the shard of '{}' is not a name", name));
    check_shard_name(index, shard.get_ref<const std::string&>());
    map.emplace(name, shard.get<std::string>());
  }
  if (map.empty()) fail("its weight_map is empty");
  return map;
}

Checkpoint open_sharded(const fs::path& folder, const fs::path& index) {
  const auto weight_map = read_weight_map(index);
  std::map<std::string, std::shared_ptr<const SafetensorsFile>> shards;
  for (const auto& [name, shard] : weight_map) {
    if (shards.contains(shard)) continue;
    if (!fs::exists(folder / shard))
      throw LoadError((folder / shard).string(),
                      fmt::format("missing; {} names it", index.filename().string()),
                      "download this shard");
    shards.emplace(shard, std::make_shared<SafetensorsFile>(folder / shard));
  }
  Tensors tensors;
  for (const auto& [name, shard] : weight_map) {
    const auto& held = shards.at(shard)->tensors();
    const auto found = held.find(name);
    if (found == held.end())
      throw LoadError(
          (folder / shard).string(),
          fmt::format("lacks tensor '{}', which {} says is here", name, index.filename().string()),
          "download the shards and their index again, from the same place");
    tensors.emplace(name, found->second);
  }
  Files files;
  for (const auto& [name, file] : shards) {
    // What the index forgot is still part of the checkpoint, and noticed if it is of no use.
    tensors.insert(file->tensors().begin(), file->tensors().end());
    files.push_back(file);
  }
  return Checkpoint(folder.string(), std::move(files), std::move(tensors));
}

}  // namespace

Checkpoint Checkpoint::open(const fs::path& folder, std::string_view stem,
                            const std::optional<std::string>& variant) {
  const std::string dotted = variant ? "." + *variant : "";
  const fs::path single = folder / fmt::format("{}{}{}", stem, dotted, extension);
  if (fs::exists(single)) return open_file(single);
  const std::array indexes = {fmt::format("{}{}.index{}.json", stem, extension, dotted),
                              fmt::format("{}{}{}.index.json", stem, dotted, extension)};
  for (const auto& index : indexes)
    if (fs::exists(folder / index)) return open_sharded(folder, folder / index);
  throw_missing(folder, stem, variant);
}

Checkpoint Checkpoint::open_file(const fs::path& path) {
  const auto file = std::make_shared<SafetensorsFile>(path);
  return Checkpoint(path.string(), {file}, file->tensors());
}

Checkpoint Checkpoint::with_tensors(Tensors tensors) const {
  return Checkpoint(where_, files_, std::move(tensors));
}

std::vector<std::string> Checkpoint::variants(const fs::path& folder, std::string_view stem) {
  std::set<std::string> found;
  for (const auto& name : file_names(folder))
    if (const auto variant = variant_of(name, stem)) found.insert(*variant);
  return {found.begin(), found.end()};
}

Checkpoint::Checkpoint(std::string where, Files files, Tensors tensors)
    : where_(std::move(where)), files_(std::move(files)), tensors_(std::move(tensors)) {
  for (const auto& file : files_) paths_.push_back(file->path());
}

const TensorView* Checkpoint::find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

}  // namespace backlot
