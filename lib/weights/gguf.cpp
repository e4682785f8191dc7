#include "weights/gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "base/error.h"

namespace backlot {
namespace {

using Value = GgufFile::Value;

constexpr std::string_view damaged = "the file is damaged or incomplete: download it again";
constexpr uint64_t max_keys = 100'000, max_tensors = 100'000;
constexpr uint64_t max_key_bytes = 65'535;      // the format's limit
constexpr uint64_t max_tensor_name_bytes = 63;  // GGML_MAX_NAME with its end
constexpr uint32_t max_dimensions = 4;          // GGML_MAX_DIMS
constexpr int64_t default_alignment = 32;
constexpr std::string_view alignment_key = "general.alignment";

// By GgufKind; 0: its length comes first.
constexpr std::array<uint64_t, 13> kind_bytes = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

template <class T>
T load(std::span<const std::byte> bytes, uint64_t index = 0) {
  T value;
  std::memcpy(&value, bytes.data() + index * sizeof value, sizeof value);
  return value;
}

// Goes along the file; every step is checked against what is left of it.
class Cursor {
 public:
  explicit Cursor(const MappedFile& file) : path_(file.path()), all_(file.bytes()) {}

  [[noreturn]] void fail(std::string what, std::string_view mend = damaged) const {
    throw LoadError(path_.string(), std::move(what), std::string(mend));
  }

  uint64_t position() const { return position_; }
  uint64_t left() const { return all_.size() - position_; }

  std::span<const std::byte> take(uint64_t bytes, std::string_view what) {
    if (bytes > left())
      fail(fmt::format("{} needs {} bytes at {}, but the file ends after {} more", what, bytes,
                       position_, left()));
    const auto taken = all_.subspan(position_, bytes);
    position_ += bytes;
    return taken;
  }

  template <class T>
  T number(std::string_view what) {
    return load<T>(take(sizeof(T), what));
  }

  std::string_view text(uint64_t max_bytes, std::string_view what) {
    const auto length = number<uint64_t>(what);
    if (length > max_bytes)
      fail(fmt::format("{} claims {} bytes, more than the {} allowed", what, length, max_bytes));
    const auto bytes = take(length, what);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  GgufKind kind(std::string_view what) {
    const auto number = this->number<uint32_t>(what);
    if (number >= kind_bytes.size()) fail(fmt::format("{} has the unknown kind {}", what, number));
    return static_cast<GgufKind>(number);
  }

  // Everything of `count` values from here on, each within the file.
  std::span<const std::byte> values(GgufKind kind, uint64_t count, std::string_view what) {
    const uint64_t start = position_, each = kind_bytes[static_cast<size_t>(kind)];
    // The least that a value takes; so the product can't overflow and the loop ends.
    const uint64_t least = each == 0 ? 8 : each;
    if (count > left() / least)
      fail(fmt::format("{} claims {} elements, more than the file can hold", what, count));
    if (each != 0) {
      const auto bytes = take(count * each, what);
      if (kind == GgufKind::boolean && std::ranges::any_of(bytes, [](std::byte byte) {
            return byte != std::byte{0} && byte != std::byte{1};
          }))
        fail(fmt::format("{} is neither true nor false", what));
      return bytes;
    }
    for (uint64_t i = 0; i < count; ++i) text(std::numeric_limits<uint64_t>::max(), what);
    return all_.subspan(start, position_ - start);
  }

  std::span<const std::byte> from(uint64_t position) const { return all_.subspan(position); }

 private:
  const fs::path& path_;
  std::span<const std::byte> all_;
  uint64_t position_ = 0;
};

struct Header {
  uint32_t version = 0;
  uint64_t tensors = 0, keys = 0;
};

void refuse_other_formats(const Cursor& cursor, std::string_view start) {
  if (start.empty()) cursor.fail("the file is empty");
  if (start.starts_with("version https://git-lfs"))
    cursor.fail("this is a Git LFS pointer, not the weights",
                "run git lfs pull in the model's folder");
  if (start.starts_with("<!") || start.starts_with("<htm") || start.starts_with("<HTM"))
    cursor.fail("this is a web page, not the weights", "download the file itself");
  if (start.starts_with("ggml") || start.starts_with("lmgg") || start.starts_with("fmgg") ||
      start.starts_with("tjgg"))
    cursor.fail("this is a file of GGML's time before GGUF", "get the model as GGUF version 3");
  if (!start.starts_with("GGUF")) cursor.fail("not a GGUF file: it doesn't begin with 'GGUF'");
}

Header read_header(Cursor& cursor) {
  const auto start = cursor.from(0).first(std::min<uint64_t>(cursor.left(), 64));
  refuse_other_formats(cursor, {reinterpret_cast<const char*>(start.data()), start.size()});
  cursor.take(4, "the magic");
  Header header;
  header.version = cursor.number<uint32_t>("the version");
  if (header.version != 0 && (header.version & 0xffff) == 0)
    cursor.fail("a big-endian GGUF file",
                "get it little-endian, or convert it with gguf_convert_endian.py of llama.cpp");
  if (header.version == 1)
    cursor.fail("GGUF version 1, of August 2023", "get the model as GGUF version 3");
  if (header.version != 2 && header.version != 3)
    cursor.fail(fmt::format("GGUF version {}", header.version),
                "versions 2 and 3 are read: get the model as GGUF version 3");
  header.tensors = cursor.number<uint64_t>("the count of tensors");
  header.keys = cursor.number<uint64_t>("the count of keys");
  // The least that one takes: its name's length, one letter, kind and value; or shape and offset.
  if (header.keys > max_keys || header.keys > cursor.left() / 14)
    cursor.fail(fmt::format("claims {} keys of metadata, more than it can hold", header.keys));
  if (header.tensors > max_tensors || header.tensors > cursor.left() / 25)
    cursor.fail(fmt::format("claims {} tensors, more than it can hold", header.tensors));
  return header;
}

Value read_value(Cursor& cursor, std::string_view key) {
  const std::string what = fmt::format("the value of '{}'", key);
  Value value;
  value.kind = cursor.kind(what);
  if (value.kind == GgufKind::array) {
    value.is_array = true;
    value.kind = cursor.kind(what);
    if (value.kind == GgufKind::array) cursor.fail(what + " is an array of arrays");
    value.count = cursor.number<uint64_t>(what);
  }
  value.bytes = cursor.values(value.kind, value.count, what);
  return value;
}

// A tensor as the file describes it; its offset is within the data, not yet believed.
struct Described {
  std::string_view name;
  GgufTensor tensor;
  uint64_t offset = 0, size = 0;
};

// Shape and type to size, without overflow.
uint64_t size_of(const Cursor& cursor, const Described& of) {
  constexpr auto most = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  uint64_t elements = 1;
  for (const int64_t length : of.tensor.shape)
    if (__builtin_mul_overflow(elements, static_cast<uint64_t>(length), &elements) ||
        elements > most)
      cursor.fail(fmt::format("the size of tensor '{}' overflows", of.name));
  const auto per_block = static_cast<uint64_t>(block_elements(of.tensor.type));
  const uint64_t row = of.tensor.shape.empty() ? 1 : static_cast<uint64_t>(of.tensor.shape.back());
  if (row % per_block != 0)
    cursor.fail(fmt::format("rows of tensor '{}' have {} elements, not a multiple of {}'s {}",
                            of.name, row, block_type_name(of.tensor.type), per_block));
  uint64_t size = elements / per_block;
  if (__builtin_mul_overflow(size, static_cast<uint64_t>(block_bytes(of.tensor.type)), &size) ||
      size > most)
    cursor.fail(fmt::format("the size of tensor '{}' overflows", of.name));
  return size;
}

Described read_tensor(Cursor& cursor) {
  Described read;
  read.name = cursor.text(max_tensor_name_bytes, "a tensor's name");
  if (read.name.empty()) cursor.fail("a tensor has an empty name");
  const std::string what = fmt::format("tensor '{}'", read.name);
  const auto dimensions = cursor.number<uint32_t>(what);
  if (dimensions > max_dimensions)
    cursor.fail(fmt::format("{} claims {} dimensions, more than the {} allowed", what, dimensions,
                            max_dimensions));
  for (uint32_t i = 0; i < dimensions; ++i) {
    const auto length = cursor.number<int64_t>(what);
    if (length <= 0) cursor.fail(fmt::format("{} has a dimension of {}", what, length));
    read.tensor.shape.push_back(length);
  }
  std::ranges::reverse(read.tensor.shape);
  const auto number = cursor.number<uint32_t>(what);
  const auto type = block_type(number);
  if (!type)
    cursor.fail(
        fmt::format("{} is stored as {}, which is not supported", what, ggml_type_name(number)),
        fmt::format("get the model with tensors of {}", supported_block_types()));
  read.tensor.type = *type;
  read.offset = cursor.number<uint64_t>(what);
  read.size = size_of(cursor, read);
  return read;
}

// Gives each tensor its bytes: aligned, inside the file, shared with no other.
void place_tensors(const Cursor& cursor, std::vector<Described>& tensors, uint64_t alignment) {
  const uint64_t padding = (alignment - cursor.position() % alignment) % alignment;
  const uint64_t start = cursor.position() + padding;
  const uint64_t available = padding <= cursor.left() ? cursor.left() - padding : 0;
  std::ranges::sort(tensors, {},
                    [](const Described& each) { return std::pair(each.offset, each.size); });
  uint64_t end = 0;
  for (auto& each : tensors) {
    if (each.offset % alignment != 0)
      cursor.fail(fmt::format("tensor '{}' begins at {}, not a multiple of the alignment {}",
                              each.name, each.offset, alignment));
    if (each.offset > available || each.size > available - each.offset)
      cursor.fail(fmt::format("tensor '{}' claims {} bytes at {} of {}", each.name, each.size,
                              each.offset, available));
    if (each.offset < end)
      cursor.fail(fmt::format("tensor '{}' overlaps the one before it", each.name));
    end = each.offset + each.size;
    each.tensor.bytes = cursor.from(start).subspan(each.offset, each.size);
  }
}

uint64_t read_alignment(const GgufFile& file) {
  const int64_t alignment = file.find_integer(alignment_key).value_or(default_alignment);
  // 2^30 is beyond any machine's pages, and keeps sums far from overflow.
  if (alignment <= 0 || alignment > 1 << 30 ||
      !std::has_single_bit(static_cast<uint64_t>(alignment)))
    throw LoadError(file.path().string(),
                    fmt::format("'{}' is {}, not a power of two", alignment_key, alignment),
                    std::string(damaged));
  return static_cast<uint64_t>(alignment);
}

}  // namespace

int64_t GgufTensor::elements() const {
  int64_t count = 1;
  for (const int64_t length : shape) count *= length;
  return count;
}

GgufFile GgufFile::open(const fs::path& path) {
  GgufFile file{MappedFile(path)};
  Cursor cursor(file.file_);
  const Header header = read_header(cursor);
  file.version_ = header.version;
  for (uint64_t i = 0; i < header.keys; ++i) {
    const std::string_view key = cursor.text(max_key_bytes, "a metadata key");
    if (key.empty()) cursor.fail("a metadata key is empty");
    const Value value = read_value(cursor, key);
    if (!file.values_.emplace(key, value).second)
      cursor.fail(fmt::format("the key '{}' is there twice", key));
  }
  const uint64_t alignment = read_alignment(file);
  std::vector<Described> tensors;
  for (uint64_t i = 0; i < header.tensors; ++i) tensors.push_back(read_tensor(cursor));
  place_tensors(cursor, tensors, alignment);
  for (auto& each : tensors)
    if (!file.tensors_.emplace(each.name, std::move(each.tensor)).second)
      cursor.fail(fmt::format("tensor '{}' is there twice", each.name));
  return file;
}

}  // namespace backlot
