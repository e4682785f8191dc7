#include "weights/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/json.h"

namespace backlot {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian");

constexpr uint64_t max_header_bytes = 100'000'000;  // the reference reader's limit
constexpr std::string_view damaged = "the file is damaged or incomplete: download it again";

struct DTypeFacts {
  std::string_view name;
  DType dtype;
  int64_t bytes;
};

constexpr std::array dtypes = {
    DTypeFacts{"F64", DType::f64, 8},         DTypeFacts{"F32", DType::f32, 4},
    DTypeFacts{"F16", DType::f16, 2},         DTypeFacts{"BF16", DType::bf16, 2},
    DTypeFacts{"F8_E4M3", DType::f8_e4m3, 1}, DTypeFacts{"F8_E5M2", DType::f8_e5m2, 1},
    DTypeFacts{"I64", DType::i64, 8},         DTypeFacts{"I32", DType::i32, 4},
    DTypeFacts{"I16", DType::i16, 2},         DTypeFacts{"I8", DType::i8, 1},
    DTypeFacts{"U8", DType::u8, 1},           DTypeFacts{"BOOL", DType::boolean, 1}};

const DTypeFacts& facts(DType dtype) {
  return *std::ranges::find(dtypes, dtype, &DTypeFacts::dtype);
}

// One entry of the header as written, not yet believed.
struct Entry {
  std::optional<std::string> dtype;
  std::optional<std::vector<uint64_t>> shape, offsets;
};

// Reads the header as a stream of events: no recursion whatever the nesting, no value kept that a
// sound header would not have, duplicate names seen. Throws LoadError.
class HeaderReader {
 public:
  explicit HeaderReader(const fs::path& path) : path_(path) {}

  std::map<std::string, Entry, std::less<>> entries;
  std::map<std::string, std::string> metadata;

  const fs::path& path() const { return path_; }

  [[noreturn]] void fail(const std::string& what) const {
    throw LoadError(path_.string(), what, std::string(damaged));
  }

  bool start_object(size_t) {
    if (array_ || depth_ == 2) fail_value("an object");
    if (depth_ == 1) in_metadata_ = top_key_ == "__metadata__";
    ++depth_;
    return true;
  }

  bool key(std::string& name) {
    if (depth_ == 1) {
      top_key_ = name;
      if (name == "__metadata__" ? std::exchange(has_metadata_, true) : entries.contains(name))
        fail(fmt::format("the header names '{}' twice", name));
      if (name != "__metadata__") entry_ = &entries[name];
      return true;
    }
    field_ = name;
    if (in_metadata_) {
      if (metadata.contains(name)) fail(fmt::format("__metadata__ names '{}' twice", name));
      return true;
    }
    if (name != "dtype" && name != "shape" && name != "data_offsets")
      fail(fmt::format("tensor '{}' has an unknown field '{}'", top_key_, name));
    if (name == "dtype" ? entry_->dtype.has_value()
                        : (name == "shape" ? entry_->shape : entry_->offsets).has_value())
      fail(fmt::format("tensor '{}' has '{}' twice", top_key_, name));
    return true;
  }

  bool end_object() {
    --depth_;
    if (depth_ == 1 && !in_metadata_ && !(entry_->dtype && entry_->shape && entry_->offsets))
      fail(fmt::format("tensor '{}' lacks dtype, shape or data_offsets", top_key_));
    if (depth_ == 1) in_metadata_ = false;
    return true;
  }

  bool start_array(size_t) {
    if (array_ || depth_ != 2 || in_metadata_ || field_ == "dtype") fail_value("an array");
    auto& list = field_ == "shape" ? entry_->shape : entry_->offsets;
    array_ = &list.emplace();
    return true;
  }
  bool end_array() {
    array_ = nullptr;
    return true;
  }

  bool string(std::string& text) {
    if (depth_ == 2 && in_metadata_) {
      metadata.emplace(field_, text);
    } else if (depth_ == 2 && !array_ && field_ == "dtype") {
      entry_->dtype = text;
    } else {
      fail_value("text");
    }
    return true;
  }

  bool number_unsigned(uint64_t number) {
    if (!array_) fail_value("a number");
    array_->push_back(number);
    return true;
  }

  bool number_integer(int64_t) { fail_value("a negative number"); }
  bool number_float(double, const std::string&) { fail_value("a fraction or a huge number"); }
  bool boolean(bool) { fail_value("true or false"); }
  bool null() { fail_value("null"); }
  bool binary(Json::binary_t&) { fail_value("bytes"); }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) {
    fail(fmt::format("the header is not valid JSON (at its byte {})", position));
  }

 private:
  [[noreturn]] void fail_value(std::string_view kind) const {
    if (depth_ == 0) fail(fmt::format("the header is {}, not an object", kind));
    const std::string place = depth_ == 1 ? top_key_ : top_key_ + "." + field_;
    fail(fmt::format("the header has {} where '{}' should be described", kind, place));
  }

  const fs::path& path_;
  int depth_ = 0;
  bool has_metadata_ = false;
  bool in_metadata_ = false;
  std::string top_key_, field_;
  Entry* entry_ = nullptr;
  std::vector<uint64_t>* array_ = nullptr;
};

// What a file that is no safetensors file at all probably is, and what to do about it.
void refuse_other_formats(const fs::path& path, std::string_view start) {
  const auto refuse = [&](std::string what, std::string mend) {
    throw LoadError(path.string(), std::move(what), std::move(mend));
  };
  if (start.starts_with("version https://git-lfs"))
    refuse("this is a Git LFS pointer, not the weights", "run git lfs pull in the model's folder");
  if (start.starts_with("GGUF"))
    refuse("this is a GGUF file under another name", "image models are read from safetensors");
  // The zip and the bare form of torch.save.
  if (start.starts_with("PK\x03\x04") || start.starts_with("\x80\x02"))
    refuse("this is a pickle (PyTorch) file under another name",
           "pickles can run code, so they are never read: get the model's .safetensors file");
  if (start.starts_with("<!") || start.starts_with("<htm") || start.starts_with("<HTM"))
    refuse("this is a web page, not the weights", "download the file itself");
}

uint64_t read_u64(std::span<const std::byte> bytes) {
  uint64_t number = 0;
  std::memcpy(&number, bytes.data(), sizeof number);
  return number;
}

std::string_view header_text(const MappedFile& file) {
  const auto bytes = file.bytes();
  const auto fail = [&](std::string what) {
    throw LoadError(file.path().string(), std::move(what), std::string(damaged));
  };
  if (bytes.empty()) fail("the file is empty");
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  refuse_other_formats(file.path(), {text, std::min<size_t>(bytes.size(), 64)});
  if (bytes.size() < 8) fail(fmt::format("only {} bytes, too short for a header", bytes.size()));
  const uint64_t length = read_u64(bytes);
  if (length > max_header_bytes)
    fail(fmt::format("the header claims {} bytes, more than the {} allowed", length,
                     max_header_bytes));
  if (length > bytes.size() - 8)
    fail(fmt::format("the header claims {} bytes, but only {} follow", length, bytes.size() - 8));
  const std::string_view header(text + 8, length);
  // The JSON reader would take a zero byte for the end of its input.
  if (header.find('\0') != std::string_view::npos) fail("the header holds a zero byte");
  return header;
}

TensorView believe(const HeaderReader& reader, const std::string& name, const Entry& entry,
                   std::span<const std::byte> buffer) {
  const auto dtype = std::ranges::find(dtypes, std::string_view(*entry.dtype), &DTypeFacts::name);
  if (dtype == dtypes.end())
    throw LoadError(reader.path().string(),
                    fmt::format("tensor '{}' has the unknown dtype '{}'", name, *entry.dtype),
                    "get the model as F32, F16 or BF16 safetensors");
  TensorView view{.dtype = dtype->dtype};
  uint64_t size = static_cast<uint64_t>(dtype->bytes);
  for (const uint64_t length : *entry.shape) {
    if (length > uint64_t{std::numeric_limits<int64_t>::max()} ||
        __builtin_mul_overflow(size, length, &size))
      reader.fail(fmt::format("the size of tensor '{}' overflows", name));
    view.shape.push_back(static_cast<int64_t>(length));
  }
  if (entry.offsets->size() != 2)
    reader.fail(fmt::format("tensor '{}' has {} data_offsets, not 2", name, entry.offsets->size()));
  const uint64_t begin = entry.offsets->front(), end = entry.offsets->back();
  if (begin > end || end > buffer.size())
    reader.fail(
        fmt::format("tensor '{}' claims bytes {} to {} of {}", name, begin, end, buffer.size()));
  if (end - begin != size)
    reader.fail(fmt::format("tensor '{}' should take {} bytes ({} [{}]) but has {}", name, size,
                            dtype->name, fmt::join(view.shape, ", "), end - begin));
  view.bytes = buffer.subspan(begin, size);
  return view;
}

// Every byte of the buffer belongs to exactly one tensor: nothing hidden between them, nothing
// shared, and a file cut short or with a tail is noticed.
void check_coverage(const HeaderReader& reader, std::span<const std::byte> buffer) {
  std::vector<std::pair<std::pair<uint64_t, uint64_t>, std::string_view>> ranges;
  for (const auto& [name, entry] : reader.entries)
    ranges.push_back({{entry.offsets->front(), entry.offsets->back()}, name});
  std::ranges::sort(ranges);
  uint64_t covered = 0;
  for (const auto& [range, name] : ranges) {
    if (range.first != covered)
      reader.fail(fmt::format("tensor '{}' {} the one before it", name,
                              range.first < covered ? "overlaps" : "leaves a gap after"));
    covered = range.second;
  }
  if (covered != buffer.size())
    reader.fail(fmt::format("the tensors cover {} of {} bytes", covered, buffer.size()));
}

}  // namespace

std::string_view dtype_name(DType dtype) { return facts(dtype).name; }
int64_t dtype_bytes(DType dtype) { return facts(dtype).bytes; }

int64_t TensorView::elements() const {
  int64_t count = 1;
  for (const int64_t length : shape) count *= length;
  return count;
}

SafetensorsFile::SafetensorsFile(const fs::path& path) : file_(path) {
  const std::string_view header = header_text(file_);
  const auto buffer = file_.bytes().subspan(8 + header.size());
  HeaderReader reader(path);
  Json::sax_parse(header.begin(), header.end(), &reader);
  for (const auto& [name, entry] : reader.entries)
    tensors_.emplace(name, believe(reader, name, entry, buffer));
  check_coverage(reader, buffer);
  metadata_ = std::move(reader.metadata);
}

}  // namespace backlot
