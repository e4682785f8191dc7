// Safetensors files: mapped, and checked before a byte of them is believed. No LibTorch here.
// Format: https://github.com/huggingface/safetensors#format
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"

namespace backlot {

enum class DType { f64, f32, f16, bf16, f8_e4m3, f8_e5m2, i64, i32, i16, i8, u8, boolean };

std::string_view dtype_name(DType dtype);  // as the file spells it: "F32", "BF16", …
int64_t dtype_bytes(DType dtype);

// One tensor's place in a mapped file; valid as long as the file is.
struct TensorView {
  DType dtype = DType::f32;
  std::vector<int64_t> shape;  // row-major, empty for a scalar
  std::span<const std::byte> bytes;
  // The file holds [columns, rows] where `shape` says [rows, columns]: single-file checkpoints keep
  // one matrix the other way round.
  bool transposed = false;

  int64_t elements() const;
};

// A mapped file whose header was found sound: length within the file and at most 100 MB, valid JSON
// without duplicate names, known dtypes, shape times dtype equal to the byte range without
// overflow, ranges that cover the buffer without gap or overlap.
class SafetensorsFile {
 public:
  // Throws LoadError naming the file, what is wrong and what to do.
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::map<std::string, TensorView, std::less<>>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::filesystem::path& path() const { return file_.path(); }

 private:
  MappedFile file_;
  std::map<std::string, TensorView, std::less<>> tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace backlot
