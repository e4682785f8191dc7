// Safetensors files for tests, sound or broken on purpose.
#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"

namespace backlot {

// A file with this header text, whatever it says, and this buffer.
inline std::string safetensors_bytes(std::string_view header, std::string_view buffer = "") {
  const uint64_t length = header.size();
  std::string out(sizeof length, '\0');
  std::memcpy(out.data(), &length, sizeof length);
  out.append(header).append(buffer);
  return out;
}

// A sound file of float32 tensors: name to shape. Element i of the file is i.
inline std::string float_tensors(const std::map<std::string, std::vector<int64_t>>& shapes) {
  Json header = Json::object();
  std::string buffer;
  float next = 0;
  for (const auto& [name, shape] : shapes) {
    const size_t begin = buffer.size();
    int64_t count = 1;
    for (const int64_t length : shape) count *= length;
    for (int64_t i = 0; i < count; ++i, ++next) {
      char bytes[sizeof next];
      std::memcpy(bytes, &next, sizeof next);
      buffer.append(bytes, sizeof bytes);
    }
    header[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {begin, buffer.size()}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return safetensors_bytes(text, buffer);
}

// Without waiting for the disk: tests write thousands of files.
inline void write_quickly(const fs::path& path, std::string_view bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

inline void write_float_tensors(const fs::path& path,
                                const std::map<std::string, std::vector<int64_t>>& shapes) {
  write_quickly(path, float_tensors(shapes));
}

// What a LoadError from `action` says; "" if it throws none.
template <class Action>
std::string load_error(const Action& action) {
  try {
    action();
  } catch (const LoadError& error) {
    return error.what();
  }
  return "";
}

}  // namespace backlot
