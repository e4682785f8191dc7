#include <fmt/format.h>

#include <array>
#include <cstring>

#include "base/error.h"
#include "weights/gguf.h"

namespace backlot {
namespace {

using Value = GgufFile::Value;

constexpr std::string_view mend = "get the model's GGUF from another source, or convert it again";

// By GgufKind.
constexpr std::array<std::string_view, 13> kind_names = {
    "uint8", "int8",   "uint16", "int16",  "uint32", "int32",  "float32",
    "bool",  "string", "array",  "uint64", "int64",  "float64"};

std::string kind_text(const Value& value) {
  return value.is_array ? fmt::format("an array of {}", kind_names[static_cast<size_t>(value.kind)])
                        : std::string(kind_names[static_cast<size_t>(value.kind)]);
}

template <class T>
T load(std::span<const std::byte> bytes, uint64_t index = 0) {
  T value;
  std::memcpy(&value, bytes.data() + index * sizeof value, sizeof value);
  return value;
}

// A string as the file writes it, its length first.
std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()) + 8, load<uint64_t>(bytes)};
}

template <class T, class Wide>
Wide element(const Value& value, uint64_t index) {
  return static_cast<Wide>(load<T>(value.bytes, index));
}

bool is_integer(GgufKind kind) {
  return kind != GgufKind::f32 && kind != GgufKind::f64 && kind != GgufKind::boolean &&
         kind != GgufKind::string && kind != GgufKind::array;
}

bool is_number(GgufKind kind) {
  return is_integer(kind) || kind == GgufKind::f32 || kind == GgufKind::f64;
}

// An element of an array of numbers, or the number itself.
template <class Wide>
Wide number_at(const Value& value, uint64_t index) {
  switch (value.kind) {
    case GgufKind::u8:
      return element<uint8_t, Wide>(value, index);
    case GgufKind::i8:
      return element<int8_t, Wide>(value, index);
    case GgufKind::u16:
      return element<uint16_t, Wide>(value, index);
    case GgufKind::i16:
      return element<int16_t, Wide>(value, index);
    case GgufKind::u32:
      return element<uint32_t, Wide>(value, index);
    case GgufKind::i32:
      return element<int32_t, Wide>(value, index);
    case GgufKind::u64:
      return element<uint64_t, Wide>(value, index);
    case GgufKind::i64:
      return element<int64_t, Wide>(value, index);
    case GgufKind::f32:
      return element<float, Wide>(value, index);
    case GgufKind::f64:
      return element<double, Wide>(value, index);
    case GgufKind::boolean:
    case GgufKind::string:
    case GgufKind::array:
      break;
  }
  return Wide{};
}

// Whether an element is beyond int64_t.
bool is_huge(const Value& value, uint64_t index) {
  return value.kind == GgufKind::u64 && load<uint64_t>(value.bytes, index) >> 63 != 0;
}

}  // namespace

std::vector<std::string> GgufFile::keys() const {
  std::vector<std::string> names;
  for (const auto& [key, value] : values_) names.push_back(key);
  return names;
}

const Value* GgufFile::find(std::string_view key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second;
}

const Value& GgufFile::get(std::string_view key) const {
  if (const Value* value = find(key)) return *value;
  throw LoadError(path().string(), fmt::format("lacks the metadata key '{}'", key),
                  std::string(mend));
}

void GgufFile::fail_kind(std::string_view key, std::string_view wanted) const {
  throw LoadError(
      path().string(),
      fmt::format("the metadata key '{}' is {}, not {}", key, kind_text(get(key)), wanted),
      std::string(mend));
}

std::string_view GgufFile::text(std::string_view key) const {
  const Value& value = get(key);
  if (value.is_array || value.kind != GgufKind::string) fail_kind(key, "a string");
  return text_of(value.bytes);
}

int64_t GgufFile::integer(std::string_view key) const {
  const Value& value = get(key);
  if (value.is_array || !is_integer(value.kind)) fail_kind(key, "an integer");
  if (is_huge(value, 0)) fail_kind(key, "an integer below 2^63");
  return number_at<int64_t>(value, 0);
}

double GgufFile::number(std::string_view key) const {
  const Value& value = get(key);
  if (value.is_array || !is_number(value.kind)) fail_kind(key, "a number");
  return number_at<double>(value, 0);
}

bool GgufFile::flag(std::string_view key) const {
  const Value& value = get(key);
  if (value.is_array || value.kind != GgufKind::boolean) fail_kind(key, "a bool");
  return load<uint8_t>(value.bytes) != 0;
}

std::vector<std::string_view> GgufFile::texts(std::string_view key) const {
  const Value& value = get(key);
  if (!value.is_array || value.kind != GgufKind::string) fail_kind(key, "an array of string");
  std::vector<std::string_view> all;
  all.reserve(value.count);
  auto rest = value.bytes;
  for (uint64_t i = 0; i < value.count; ++i) {
    all.push_back(text_of(rest));
    rest = rest.subspan(8 + all.back().size());
  }
  return all;
}

std::vector<int64_t> GgufFile::integers(std::string_view key) const {
  const Value& value = get(key);
  if (!value.is_array || !is_integer(value.kind)) fail_kind(key, "an array of integers");
  std::vector<int64_t> all(value.count);
  for (uint64_t i = 0; i < value.count; ++i) {
    if (is_huge(value, i)) fail_kind(key, "an array of integers below 2^63");
    all[i] = number_at<int64_t>(value, i);
  }
  return all;
}

std::vector<float> GgufFile::numbers(std::string_view key) const {
  const Value& value = get(key);
  if (!value.is_array || !is_number(value.kind)) fail_kind(key, "an array of numbers");
  std::vector<float> all(value.count);
  for (uint64_t i = 0; i < value.count; ++i) all[i] = number_at<float>(value, i);
  return all;
}

std::optional<std::string_view> GgufFile::find_text(std::string_view key) const {
  return has(key) ? std::optional(text(key)) : std::nullopt;
}
std::optional<int64_t> GgufFile::find_integer(std::string_view key) const {
  return has(key) ? std::optional(integer(key)) : std::nullopt;
}
std::optional<double> GgufFile::find_number(std::string_view key) const {
  return has(key) ? std::optional(number(key)) : std::nullopt;
}
std::optional<bool> GgufFile::find_flag(std::string_view key) const {
  return has(key) ? std::optional(flag(key)) : std::nullopt;
}

uint64_t GgufFile::array_size(std::string_view key) const {
  const Value& value = get(key);
  if (!value.is_array) fail_kind(key, "an array");
  return value.count;
}

}  // namespace backlot
