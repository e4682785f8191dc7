// GGUF files: mapped, and checked before a byte of them is believed. No LibTorch here.
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/files.h"
#include "weights/gguf_blocks.h"

namespace backlot {

// What a metadata value is; the numbers are the file's.
enum class GgufKind : uint32_t {
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  f32,
  boolean,
  string,
  array,
  u64,
  i64,
  f64,
};

// One tensor's place in a mapped file; valid as long as the file is.
struct GgufTensor {
  BlockType type = BlockType::f32;
  std::vector<int64_t> shape;  // outermost first (ggml's `ne` reversed), empty for a scalar
  std::span<const std::byte> bytes;

  int64_t elements() const;
};

// A mapped little-endian file of version 2 or 3 that was found sound: counts and lengths within the
// file, no key and no tensor twice, sizes without overflow, tensors of known types at aligned
// offsets inside the file that don't overlap. Metadata stays in the mapping and takes little memory
// whatever it claims: about 200 bytes for each key and tensor that is really there.
class GgufFile {
 public:
  // Throws LoadError naming the file, what is wrong and what to do.
  static GgufFile open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  uint32_t version() const { return version_; }
  const std::map<std::string, GgufTensor, std::less<>>& tensors() const { return tensors_; }

  bool has(std::string_view key) const { return find(key) != nullptr; }
  std::vector<std::string> keys() const;

  // Metadata. Throws LoadError naming the key if it is absent or of another kind. Integers are of
  // any width and sign that int64_t holds; numbers are floats or integers. Texts are as the file
  // has them, and valid as long as the file is.
  std::string_view text(std::string_view key) const;
  int64_t integer(std::string_view key) const;
  double number(std::string_view key) const;
  bool flag(std::string_view key) const;
  std::vector<std::string_view> texts(std::string_view key) const;
  std::vector<int64_t> integers(std::string_view key) const;
  std::vector<float> numbers(std::string_view key) const;

  // The same, but nothing if the key is absent.
  std::optional<std::string_view> find_text(std::string_view key) const;
  std::optional<int64_t> find_integer(std::string_view key) const;
  std::optional<double> find_number(std::string_view key) const;
  std::optional<bool> find_flag(std::string_view key) const;

  // Elements of an array. Throws LoadError if the key is absent or no array.
  uint64_t array_size(std::string_view key) const;

  // A metadata value's place in the file.
  struct Value {
    GgufKind kind = GgufKind::u8;  // of an array: of its elements
    bool is_array = false;
    uint64_t count = 1;
    std::span<const std::byte> bytes;  // strings each with their length before them
  };

 private:
  explicit GgufFile(MappedFile file) : file_(std::move(file)) {}
  const Value* find(std::string_view key) const;
  const Value& get(std::string_view key) const;
  [[noreturn]] void fail_kind(std::string_view key, std::string_view wanted) const;

  MappedFile file_;
  uint32_t version_ = 0;
  std::map<std::string, Value, std::less<>> values_;
  std::map<std::string, GgufTensor, std::less<>> tensors_;
};

}  // namespace backlot
