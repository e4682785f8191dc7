// Reads a whole safetensors file into memory, for tests that compare with recorded tensors.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace backlot {

// Name to tensor, on the CPU, in the file's own dtypes.
inline std::map<std::string, at::Tensor> read_safetensors(const std::string& path) {
  static const std::map<std::string, at::ScalarType> dtypes = {
      {"F64", at::kDouble}, {"F32", at::kFloat}, {"F16", at::kHalf},  {"BF16", at::kBFloat16},
      {"I64", at::kLong},   {"I32", at::kInt},   {"I16", at::kShort}, {"I8", at::kChar},
      {"U8", at::kByte},    {"BOOL", at::kBool}};
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot open " + path);
  std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  uint64_t header_size = 0;  // little-endian, as every machine that runs these tests
  std::memcpy(&header_size, bytes.data(), sizeof header_size);
  char* data = bytes.data() + sizeof header_size + header_size;
  const auto header = nlohmann::json::parse(bytes.data() + sizeof header_size, data);

  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    const auto shape = entry.at("shape").get<std::vector<int64_t>>();
    const auto dtype = dtypes.at(entry.at("dtype").get<std::string>());
    const auto begin = entry.at("data_offsets").at(0).get<size_t>();
    tensors[name] = at::from_blob(data + begin, shape, at::TensorOptions(dtype)).clone();
  }
  return tensors;
}

}  // namespace backlot
