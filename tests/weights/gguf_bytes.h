// GGUF files for tests, sound or broken on purpose.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace backlot {

template <class T>
std::string le(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

inline std::string gguf_string(std::string_view text) {
  return le<uint64_t>(text.size()) + std::string(text);
}

// A key with a value of this kind, whatever follows.
inline std::string gguf_key(std::string_view key, uint32_t kind, std::string_view value) {
  return gguf_string(key) + le(kind) + std::string(value);
}
inline std::string gguf_u32(std::string_view key, uint32_t value) {
  return gguf_key(key, 4, le(value));
}
inline std::string gguf_f32(std::string_view key, float value) {
  return gguf_key(key, 6, le(value));
}
inline std::string gguf_text(std::string_view key, std::string_view value) {
  return gguf_key(key, 8, gguf_string(value));
}
inline std::string gguf_flag(std::string_view key, bool value) {
  return gguf_key(key, 7, le(static_cast<uint8_t>(value)));
}
inline std::string gguf_array(std::string_view key, uint32_t element, uint64_t count,
                              std::string_view values) {
  return gguf_key(key, 9, le(element) + le(count) + std::string(values));
}
inline std::string gguf_texts(std::string_view key, const std::vector<std::string>& values) {
  std::string bytes;
  for (const auto& value : values) bytes += gguf_string(value);
  return gguf_array(key, 8, values.size(), bytes);
}

// A tensor's description; `ne` has the innermost dimension first, as in the file.
inline std::string gguf_tensor(std::string_view name, const std::vector<int64_t>& ne, uint32_t type,
                               uint64_t offset) {
  std::string bytes = gguf_string(name) + le(static_cast<uint32_t>(ne.size()));
  for (const int64_t length : ne) bytes += le(length);
  return bytes + le(type) + le(offset);
}

struct GgufParts {
  std::vector<std::string> keys, tensors;
  std::string data;
  uint32_t version = 3;
  size_t alignment = 32;
};

inline std::string gguf_bytes(const GgufParts& parts) {
  std::string bytes = "GGUF" + le(parts.version) + le<uint64_t>(parts.tensors.size()) +
                      le<uint64_t>(parts.keys.size());
  for (const auto& key : parts.keys) bytes += key;
  for (const auto& tensor : parts.tensors) bytes += tensor;
  bytes.resize((bytes.size() + parts.alignment - 1) / parts.alignment * parts.alignment, '\0');
  return bytes + parts.data;
}

}  // namespace backlot
