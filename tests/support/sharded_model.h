// A copy of a model whose weights lie in several files with an index, as large models are
// published.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"

namespace backlot {

// Splits STEM.safetensors into STEM-0000I-of-0000N.safetensors of whole tensors.
inline void split_into_shards(const fs::path& folder, const std::string& stem, size_t shards) {
  const fs::path file = folder / (stem + ".safetensors");
  const std::string bytes = read_file(file);
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  const size_t data = sizeof length + length;
  const Json tensors = Json::parse(bytes.begin() + sizeof length, bytes.begin() + long(data));
  struct Shard {
    Json header = Json::object();
    std::string data;
  };
  std::vector<Shard> parts(shards);
  Json index = {{"metadata", {{"total_size", bytes.size() - data}}},
                {"weight_map", Json::object()}};
  const auto name_of = [&](size_t i) {
    char name[128];
    std::snprintf(name, sizeof name, "%s-%05zu-of-%05zu.safetensors", stem.c_str(), i + 1, shards);
    return std::string(name);
  };
  size_t next = 0;
  for (const auto& [name, entry] : tensors.items()) {
    if (name == "__metadata__") continue;
    auto& part = parts[next];
    const size_t begin = entry["data_offsets"][0], end = entry["data_offsets"][1];
    Json moved = entry;
    moved["data_offsets"] = {part.data.size(), part.data.size() + end - begin};
    part.header[name] = moved;
    part.data += bytes.substr(data + begin, end - begin);
    index["weight_map"][name] = name_of(next);
    next = (next + 1) % shards;  // neighbours in the network come from different files
  }
  for (size_t i = 0; i < shards; ++i) {
    std::string header = parts[i].header.dump();
    header.resize((header.size() + 7) / 8 * 8, ' ');
    const uint64_t size = header.size();
    std::ofstream(folder / name_of(i), std::ios::binary)
        << std::string(reinterpret_cast<const char*>(&size), sizeof size) << header
        << parts[i].data;
  }
  std::ofstream(folder / (stem + ".safetensors.index.json")) << index;
  fs::remove(file);
}

// The tiny SDXL of tests/data, in shards: 6 of the UNet, 3 of every other network.
inline void write_sharded_sdxl(const fs::path& to) {
  fs::copy(fs::path(BACKLOT_TEST_DATA) / "oracles/sdxl-base/model", to,
           fs::copy_options::recursive);
  split_into_shards(to / "unet", "diffusion_pytorch_model", 6);
  split_into_shards(to / "vae", "diffusion_pytorch_model", 3);
  split_into_shards(to / "text_encoder", "model", 3);
  split_into_shards(to / "text_encoder_2", "model", 3);
}

}  // namespace backlot
