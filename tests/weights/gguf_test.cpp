#include "weights/gguf.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <limits>
#include <random>

#include "base/error.h"
#include "support/temporary_folder.h"
#include "weights/gguf_bytes.h"
#include "weights/safetensors_bytes.h"

namespace backlot {
namespace {

constexpr uint64_t huge = std::numeric_limits<uint64_t>::max();

// Two tensors, of 2 x 3 float32 and of 2 x 32 in Q4_0, and a key of each kind.
GgufParts sound_parts() {
  GgufParts parts;
  parts.keys = {gguf_text("general.architecture", "llama"),
                gguf_u32("llama.block_count", 30),
                gguf_key("a.u8", 0, le<uint8_t>(200)),
                gguf_key("a.i8", 1, le<int8_t>(-7)),
                gguf_key("a.u16", 2, le<uint16_t>(40000)),
                gguf_key("a.i16", 3, le<int16_t>(-300)),
                gguf_key("a.i32", 5, le<int32_t>(-70000)),
                gguf_f32("a.f32", 0.5F),
                gguf_flag("a.flag", true),
                gguf_key("a.u64", 10, le<uint64_t>(uint64_t{1} << 40)),
                gguf_key("a.i64", 11, le<int64_t>(-(int64_t{1} << 40))),
                gguf_key("a.f64", 12, le(0.1)),
                gguf_texts("tokens", {"a", "", "bc"}),
                gguf_array("types", 5, 3, le<int32_t>(1) + le<int32_t>(-2) + le<int32_t>(3)),
                gguf_array("scores", 6, 2, le(0.25F) + le(-1.5F))};
  parts.tensors = {gguf_tensor("floats", {3, 2}, 0, 0), gguf_tensor("codes", {32, 2}, 2, 32)};
  parts.data = std::string(32 + 36, 'x');
  return parts;
}

GgufParts with_keys(std::vector<std::string> keys) {
  GgufParts parts;
  parts.keys = std::move(keys);
  return parts;
}

GgufParts with_tensors(std::vector<std::string> tensors, size_t data) {
  GgufParts parts;
  parts.tensors = std::move(tensors);
  parts.data = std::string(data, 'x');
  return parts;
}

class Gguf : public ::testing::Test {
 protected:
  GgufFile open(std::string_view bytes) {
    // A new file each time: some file systems flush one that is written over.
    fs::remove(folder_ / "model.gguf");
    write_quickly(folder_ / "model.gguf", bytes);
    return GgufFile::open(folder_ / "model.gguf");
  }
  GgufFile open(const GgufParts& parts) { return open(gguf_bytes(parts)); }

  std::string complaint(std::string_view bytes) {
    return load_error([&] { open(bytes); });
  }
  std::string complaint(const GgufParts& parts) { return complaint(gguf_bytes(parts)); }

  TemporaryFolder folder_;
};

// The complaint names the file, holds `what` and says what to do.
void expect_complaint(const std::string& complaint, std::string_view what) {
  EXPECT_NE(complaint.find("model.gguf: "), std::string::npos) << complaint;
  EXPECT_NE(complaint.find(what), std::string::npos) << complaint;
  EXPECT_NE(complaint.find("; "), std::string::npos) << complaint;
}

TEST_F(Gguf, GivesTensorsOutermostFirst) {
  const auto file = open(sound_parts());
  EXPECT_EQ(file.version(), 3u);
  ASSERT_EQ(file.tensors().size(), 2u);
  const auto& floats = file.tensors().at("floats");
  EXPECT_EQ(floats.type, BlockType::f32);
  EXPECT_EQ(floats.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(floats.elements(), 6);
  EXPECT_EQ(floats.bytes.size(), 24u);
  const auto& codes = file.tensors().at("codes");
  EXPECT_EQ(codes.type, BlockType::q4_0);
  EXPECT_EQ(codes.shape, (std::vector<int64_t>{2, 32}));
  EXPECT_EQ(codes.bytes.size(), 36u);
  EXPECT_EQ(codes.bytes.data(), floats.bytes.data() + 32);
}

TEST_F(Gguf, GivesMetadataOfEveryKind) {
  const auto file = open(sound_parts());
  EXPECT_EQ(file.text("general.architecture"), "llama");
  EXPECT_EQ(file.integer("llama.block_count"), 30);
  EXPECT_EQ(file.integer("a.u8"), 200);
  EXPECT_EQ(file.integer("a.i8"), -7);
  EXPECT_EQ(file.integer("a.u16"), 40000);
  EXPECT_EQ(file.integer("a.i16"), -300);
  EXPECT_EQ(file.integer("a.i32"), -70000);
  EXPECT_EQ(file.integer("a.u64"), int64_t{1} << 40);
  EXPECT_EQ(file.integer("a.i64"), -(int64_t{1} << 40));
  EXPECT_EQ(file.number("a.f32"), 0.5);
  EXPECT_EQ(file.number("a.f64"), 0.1);
  EXPECT_EQ(file.number("a.u8"), 200.0);
  EXPECT_TRUE(file.flag("a.flag"));
  EXPECT_EQ(file.texts("tokens"), (std::vector<std::string_view>{"a", "", "bc"}));
  EXPECT_EQ(file.array_size("tokens"), 3u);
  EXPECT_EQ(file.integers("types"), (std::vector<int64_t>{1, -2, 3}));
  EXPECT_EQ(file.numbers("scores"), (std::vector<float>{0.25F, -1.5F}));
  EXPECT_FALSE(file.find_text("absent"));
  EXPECT_EQ(file.find_integer("a.u8"), 200);
  EXPECT_EQ(file.keys().size(), 15u);
}

TEST_F(Gguf, NamesTheKeyThatIsAbsentOrOfAnotherKind) {
  const auto file = open(sound_parts());
  expect_complaint(load_error([&] { file.text("absent"); }), "lacks the metadata key 'absent'");
  expect_complaint(load_error([&] { file.text("a.u8"); }), "'a.u8' is uint8, not a string");
  expect_complaint(load_error([&] { file.integer("a.f32"); }), "is float32, not an integer");
  expect_complaint(load_error([&] { file.integer("types"); }), "an array of int32, not an integer");
  expect_complaint(load_error([&] { file.number("a.flag"); }), "is bool, not a number");
  expect_complaint(load_error([&] { file.flag("a.u8"); }), "not a bool");
  expect_complaint(load_error([&] { file.texts("types"); }), "not an array of string");
  expect_complaint(load_error([&] { file.integers("scores"); }), "not an array of integers");
  expect_complaint(load_error([&] { file.numbers("tokens"); }), "not an array of numbers");
  expect_complaint(load_error([&] { file.array_size("a.u8"); }), "not an array");
  expect_complaint(load_error([&] { file.find_integer("tokens"); }), "not an integer");
  const auto large = open(with_keys({gguf_key("k", 10, le(huge))}));
  expect_complaint(load_error([&] { large.integer("k"); }), "below 2^63");
}

TEST_F(Gguf, TakesVersion2EmptyFilesScalarsAndOtherAlignments) {
  auto parts = sound_parts();
  parts.version = 2;
  EXPECT_EQ(open(parts).version(), 2u);
  EXPECT_TRUE(open(GgufParts{}).tensors().empty());
  EXPECT_EQ(open(with_tensors({gguf_tensor("s", {}, 0, 0)}, 4)).tensors().at("s").elements(), 1);
  GgufParts aligned = with_tensors({gguf_tensor("a", {1}, 0, 0), gguf_tensor("b", {1}, 0, 8)}, 12);
  aligned.keys = {gguf_u32("general.alignment", 8)};
  aligned.alignment = 8;
  EXPECT_EQ(open(aligned).tensors().size(), 2u);
}

// What llama.cpp's tests/test-gguf.cpp enumerates, and what else readers have met.

TEST_F(Gguf, SaysWhatAnotherFormatIs) {
  expect_complaint(complaint(""), "empty");
  expect_complaint(complaint("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull");
  expect_complaint(complaint("<!DOCTYPE html>"), "web page");
  expect_complaint(complaint("ggjtxxxxxxxxxxxxxxxx"), "begin with 'GGUF'");
  expect_complaint(complaint("tjggxxxxxxxxxxxxxxxx"), "before GGUF");
  expect_complaint(complaint("FUGG" + std::string(40, '\0')), "begin with 'GGUF'");
}

TEST_F(Gguf, RefusesOtherVersionsByName) {
  GgufParts parts;
  for (const auto& [version, what] :
       std::vector<std::pair<uint32_t, std::string>>{{0, "GGUF version 0"},
                                                     {1, "GGUF version 1, of August 2023"},
                                                     {4, "GGUF version 4"},
                                                     {0x03000000, "big-endian"},
                                                     {0x02000000, "big-endian"},
                                                     {0xffffffff, "version 4294967295"}}) {
    parts.version = version;
    expect_complaint(complaint(parts), what);
  }
}

TEST_F(Gguf, RefusesCountsBeyondTheFile) {
  const std::string start = "GGUF" + le<uint32_t>(3);
  for (const uint64_t count : {huge, huge / 2, uint64_t{1} << 40, uint64_t{10}}) {
    expect_complaint(complaint(start + le(count) + le<uint64_t>(0)), "tensors, more than");
    expect_complaint(complaint(start + le<uint64_t>(0) + le(count)), "keys of metadata, more than");
  }
  expect_complaint(
      complaint(start + le<uint64_t>(200'000) + le<uint64_t>(0) + std::string(6'000'000, '\0')),
      "200000 tensors, more than");
}

TEST_F(Gguf, RefusesBadKeys) {
  const std::string rest = le<uint32_t>(4) + le<uint32_t>(1) + std::string(20, 'k');
  expect_complaint(complaint(with_keys({le(huge) + "k" + rest})), "a metadata key claims");
  expect_complaint(complaint(with_keys({le<uint64_t>(1000) + rest})), "needs 1000 bytes");
  expect_complaint(complaint(with_keys({gguf_string("") + rest})), "key is empty");
  expect_complaint(complaint(with_keys({gguf_string(std::string(65'536, 'k')) + rest})),
                   "more than the 65535 allowed");
  expect_complaint(complaint(with_keys({gguf_u32("k", 1), gguf_u32("k", 1)})),
                   "'k' is there twice");
}

TEST_F(Gguf, RefusesBadValues) {
  const std::string tail(64, '\0');
  expect_complaint(complaint(with_keys({gguf_key("k", 13, tail)})), "unknown kind 13");
  expect_complaint(complaint(with_keys({gguf_key("k", 0xffffffff, tail)})), "unknown kind");
  expect_complaint(complaint(with_keys({gguf_key("k", 7, "\x02" + tail)})), "neither true nor");
  expect_complaint(complaint(with_keys({gguf_key("k", 8, le(huge) + tail)})), "needs 18446744");
  expect_complaint(complaint(with_keys({gguf_key("k", 8, le<uint64_t>(1 << 20) + tail)})),
                   "the value of 'k' needs 1048576 bytes");
}

TEST_F(Gguf, RefusesBadArrays) {
  const std::string tail(64, '\0');
  expect_complaint(complaint(with_keys({gguf_array("k", 9, 1, tail)})), "an array of arrays");
  expect_complaint(complaint(with_keys({gguf_array("k", 99, 1, tail)})), "unknown kind 99");
  for (const uint32_t element : {0u, 4u, 8u, 10u, 12u}) {
    expect_complaint(complaint(with_keys({gguf_array("k", element, huge, tail)})),
                     "elements, more");
    expect_complaint(complaint(with_keys({gguf_array("k", element, huge / 8 + 1, tail)})),
                     "elements, more");
    expect_complaint(complaint(with_keys({gguf_array("k", element, 1000, tail)})),
                     "elements, more");
  }
  expect_complaint(complaint(with_keys({gguf_array("k", 8, 2, gguf_string("a") + le(huge))})),
                   "the value of 'k' needs");
  expect_complaint(complaint(with_keys({gguf_array("k", 7, 2, std::string("\x01\x09", 2))})),
                   "neither true nor");
}

TEST_F(Gguf, RefusesBadAlignments) {
  for (const uint32_t alignment : {0u, 3u, 33u, 0x80000000u, 0xffffffffu})
    expect_complaint(complaint(with_keys({gguf_u32("general.alignment", alignment)})),
                     "not a power of two");
  expect_complaint(complaint(with_keys({gguf_text("general.alignment", "32")})), "not an integer");
  expect_complaint(complaint(with_keys({gguf_f32("general.alignment", 32.0F)})), "not an integer");
  // Padding beyond the end of the file.
  GgufParts parts = with_tensors({gguf_tensor("a", {1}, 0, 0)}, 4);
  parts.keys = {gguf_u32("general.alignment", 1 << 20)};
  expect_complaint(complaint(parts), "claims 4 bytes at 0 of 0");
}

TEST_F(Gguf, RefusesBadTensorNames) {
  expect_complaint(complaint(with_tensors({gguf_tensor("", {1}, 0, 0)}, 32)), "an empty name");
  expect_complaint(complaint(with_tensors({gguf_tensor(std::string(64, 'a'), {1}, 0, 0)}, 32)),
                   "a tensor's name claims 64 bytes");
  expect_complaint(complaint(with_tensors({le(huge) + std::string(40, 'a')}, 32)),
                   "claims 1844674");
  expect_complaint(
      complaint(with_tensors({gguf_tensor("a", {1}, 0, 0), gguf_tensor("a", {1}, 0, 32)}, 64)),
      "'a' is there twice");
}

TEST_F(Gguf, RefusesBadShapes) {
  constexpr int64_t large = int64_t{1} << 32;
  const auto about = [&](const std::vector<int64_t>& ne, uint32_t type = 0) {
    return complaint(with_tensors({gguf_tensor("a", ne, type, 0)}, 64));
  };
  expect_complaint(about({1, 1, 1, 1, 1}), "claims 5 dimensions");
  expect_complaint(about({0}), "a dimension of 0");
  expect_complaint(about({4, -1}), "a dimension of -1");
  expect_complaint(about({std::numeric_limits<int64_t>::min()}), "a dimension of -9");
  expect_complaint(about({large, large}), "overflows");
  expect_complaint(about({large, large / 2}), "overflows");
  expect_complaint(about({large, large, large, large}), "overflows");
  expect_complaint(about({std::numeric_limits<int64_t>::max()}), "overflows");
  expect_complaint(about({large / 4, large / 4}, 1), "claims");
  expect_complaint(about({16}, 2), "not a multiple of Q4_0's 32");
  expect_complaint(about({32, 8}, 12), "not a multiple of Q4_K's 256");
  expect_complaint(about({}, 8), "not a multiple of Q8_0's 32");
  const std::string name = gguf_string("a");
  expect_complaint(complaint(with_tensors({name + le<uint32_t>(0xffffffff) + name + name}, 64)),
                   "claims 4294967295 dimensions");
}

TEST_F(Gguf, RefusesOtherTypesWithTheirNames) {
  const auto about = [&](uint32_t type) {
    return complaint(with_tensors({gguf_tensor("blk.0.attn_q.weight", {256}, type, 0)}, 512));
  };
  expect_complaint(about(23), "tensor 'blk.0.attn_q.weight' is stored as IQ4_XS");
  expect_complaint(about(39), "MXFP4");
  expect_complaint(about(26), "I32");
  expect_complaint(about(4), "Q4_2");
  expect_complaint(about(999), "type 999");
  expect_complaint(about(0xffffffff), "type 4294967295");
  expect_complaint(about(23), "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K");
}

TEST_F(Gguf, RefusesBadOffsets) {
  const auto about = [&](uint64_t a, uint64_t b, size_t data) {
    return complaint(
        with_tensors({gguf_tensor("a", {8}, 0, a), gguf_tensor("b", {16}, 0, b)}, data));
  };
  EXPECT_EQ(about(0, 32, 96), "");
  EXPECT_EQ(about(64, 0, 96), "");
  expect_complaint(about(0, 33, 200), "not a multiple of the alignment 32");
  expect_complaint(about(0, 0, 96), "overlaps");
  expect_complaint(about(32, 0, 96), "overlaps");
  expect_complaint(about(0, 32, 95), "tensor 'b' claims 64 bytes at 32 of 95");
  expect_complaint(about(0, huge - 31, 96), "tensor 'b' claims");
  expect_complaint(about(0, uint64_t{1} << 62, 96), "tensor 'b' claims");
  expect_complaint(about(0, 32, 0), "of 0");
}

TEST_F(Gguf, RefusesEveryTruncation) {
  const std::string bytes = gguf_bytes(sound_parts());
  for (size_t length = 0; length < bytes.size(); ++length)
    EXPECT_NE(complaint(std::string_view(bytes).substr(0, length)), "") << length;
}

TEST_F(Gguf, HidesControlCharactersOfHostileNames) {
  const auto text = complaint(with_tensors({gguf_tensor("\x1b[2J\n", {1}, 99, 0)}, 32));
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_EQ(text.find('\n'), std::string::npos);
  EXPECT_NE(text.find("\\x1b[2J"), std::string::npos) << text;
}

// One to four edits: a bit flipped, a number written over, a piece copied elsewhere, cut out.
std::string mutated(std::string bytes, std::mt19937& random) {
  constexpr uint64_t numbers[] = {
      0, 1, 2, 13, 0x7fffffff, 0xffffffff, huge / 24, huge / 2, huge - 31, huge, uint64_t{1} << 32};
  const auto below = [&](size_t n) { return n == 0 ? 0 : random() % n; };
  for (size_t edits = 1 + below(4); edits > 0; --edits) {
    const size_t place = below(bytes.size()), length = below(std::min<size_t>(24, bytes.size()));
    switch (below(5)) {
      case 0:
        bytes[place] = static_cast<char>(bytes[place] ^ (1 << below(8)));
        break;
      case 1:
      case 2: {
        const std::string number =
            le(numbers[below(std::size(numbers))]).substr(0, 4 + 4 * below(2));
        bytes.replace(place, std::min(number.size(), bytes.size() - place), number);
        break;
      }
      case 3:
        bytes.insert(below(bytes.size()), bytes.substr(place, length));
        break;
      case 4:
        bytes.erase(place, length);
        break;
    }
    if (bytes.empty()) bytes = "x";
  }
  return bytes;
}

// Whatever is believed can be read.
unsigned read_all(const GgufFile& file) {
  unsigned sum = 0;
  for (const auto& [name, tensor] : file.tensors()) {
    std::vector<float> values(static_cast<size_t>(tensor.elements()));
    dequantize(tensor.type, tensor.bytes, values.data(), tensor.elements());
    for (const std::byte byte : tensor.bytes) sum += static_cast<unsigned>(byte);
  }
  for (const auto& key : file.keys()) {
    load_error([&] { sum += static_cast<unsigned>(file.text(key).size()); });
    load_error([&] { sum += static_cast<unsigned>(file.texts(key).size()); });
    load_error([&] { sum += static_cast<unsigned>(file.integers(key).size()); });
    load_error([&] { sum += static_cast<unsigned>(file.numbers(key).size()); });
    load_error([&] { sum += static_cast<unsigned>(file.integer(key)); });
    load_error([&] { sum += file.number(key) > 0 ? 1 : 0; });
  }
  return sum;
}

// What the mutations may take together; AddressSanitizer keeps what was freed for a while.
#ifdef __SANITIZE_ADDRESS__
constexpr int64_t most_kilobytes = 512 * 1024;
#else
constexpr int64_t most_kilobytes = 64 * 1024;
#endif

int64_t peak_kilobytes() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

TEST_F(Gguf, SurvivesMutations) {
  const std::string sound = gguf_bytes(sound_parts());
  std::mt19937 random(20230821);
  int refused = 0, taken = 0;
  unsigned sum = 0;
  const int64_t before = peak_kilobytes();
  for (int i = 0; i < 10'000; ++i) {
    try {
      sum += read_all(open(mutated(sound, random)));
      ++taken;
    } catch (const LoadError& error) {
      EXPECT_FALSE(error.mend().empty());
      ++refused;
    }
  }
  EXPECT_NE(sum, 0u);
  // Both ends are reached, and no count that a file of 1 KB claims is believed.
  EXPECT_GT(taken, 500);
  EXPECT_GT(refused, 5000);
  EXPECT_LT(peak_kilobytes() - before, most_kilobytes);
}

}  // namespace
}  // namespace backlot
