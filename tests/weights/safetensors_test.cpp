#include "weights/safetensors.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "base/error.h"
#include "support/temporary_folder.h"
#include "weights/safetensors_bytes.h"

namespace backlot {
namespace {

constexpr std::string_view two_tensors =
    R"({"__metadata__":{"format":"pt"},)"
    R"("a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
    R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]}})";

std::string sound_file() { return safetensors_bytes(two_tensors, std::string(22, 'x')); }

class Safetensors : public ::testing::Test {
 protected:
  SafetensorsFile open(std::string_view bytes) {
    write_quickly(folder_ / "model.safetensors", bytes);
    return SafetensorsFile(folder_ / "model.safetensors");
  }

  // The complaint about a file with one tensor `a` described by `entry` and this much data.
  std::string complaint(std::string_view header, size_t data = 0) {
    return complaint_about(safetensors_bytes(header, std::string(data, 'x')));
  }
  std::string complaint_about(std::string_view bytes) {
    return load_error([&] { open(bytes); });
  }

  TemporaryFolder folder_;
};

// The complaint names the file, holds `what` and says what to do.
void expect_complaint(const std::string& complaint, std::string_view what) {
  EXPECT_NE(complaint.find("model.safetensors: "), std::string::npos) << complaint;
  EXPECT_NE(complaint.find(what), std::string::npos) << complaint;
  EXPECT_NE(complaint.find("; "), std::string::npos) << complaint;
}

TEST_F(Safetensors, GivesNamesShapesAndBytes) {
  const auto file = open(sound_file());
  ASSERT_EQ(file.tensors().size(), 2u);
  const auto& a = file.tensors().at("a");
  EXPECT_EQ(a.dtype, DType::f32);
  EXPECT_EQ(a.shape, (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(a.bytes.size(), 16u);
  EXPECT_EQ(file.tensors().at("b").elements(), 3);
  EXPECT_EQ(file.metadata().at("format"), "pt");
}

TEST_F(Safetensors, TakesScalarsEmptyTensorsAndPadding) {
  const auto file =
      open(safetensors_bytes(R"({"s":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
                             R"("z":{"dtype":"F32","shape":[0,5],"data_offsets":[8,8]}}       )",
                             std::string(8, '\0')));
  EXPECT_EQ(file.tensors().at("s").elements(), 1);
  EXPECT_EQ(file.tensors().at("z").elements(), 0);
  EXPECT_TRUE(open(safetensors_bytes("{}")).tensors().empty());
}

// The attacks that the reference reader and its re-implementations have met.

TEST_F(Safetensors, RefusesAnEmptyOrTinyFile) {
  expect_complaint(complaint_about(""), "empty");
  expect_complaint(complaint_about("1234567"), "too short");
}

TEST_F(Safetensors, RefusesALengthBeyondTheFile) {
  std::string bytes = sound_file();
  bytes[1] = 1;
  expect_complaint(complaint_about(bytes), "follow");
}

TEST_F(Safetensors, RefusesALengthThatWrapsAround) {
  expect_complaint(complaint_about(std::string(8, '\xff') + "{}"), "claims 18446744073709551615");
  expect_complaint(complaint_about(std::string("\xf8\xff\xff\xff\xff\xff\xff\xff{}", 10)),
                   "claims 18446744073709551608");
}

TEST_F(Safetensors, RefusesAHeaderAboveTheLimit) {
  const fs::path path = folder_ / "model.safetensors";
  std::string bytes(8, '\0');
  const uint64_t length = 100'000'001;
  std::memcpy(bytes.data(), &length, sizeof length);
  write_file_durably(path, bytes);
  fs::resize_file(path, 200'000'000);  // sparse
  expect_complaint(load_error([&] { SafetensorsFile file(path); }), "100000000 allowed");
}

TEST_F(Safetensors, RefusesAHeaderOfLengthZero) {
  expect_complaint(complaint(""), "not valid JSON");
}

TEST_F(Safetensors, RefusesAHeaderThatIsNoJson) {
  expect_complaint(complaint("hello, world"), "not valid JSON");
  expect_complaint(complaint(R"({"a":)"), "not valid JSON");
  expect_complaint(complaint("{} {}"), "not valid JSON");
}

TEST_F(Safetensors, RefusesAHeaderThatIsNoObject) {
  expect_complaint(complaint("[]"), "an array");
  expect_complaint(complaint("7"), "a number");
  expect_complaint(complaint("null"), "null");
}

TEST_F(Safetensors, RefusesInvalidUtf8) {
  expect_complaint(
      complaint("{\"\xff\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1),
      "not valid JSON");
}

TEST_F(Safetensors, RefusesZeroBytesInTheHeader) {
  expect_complaint(complaint(std::string("{}\0\0", 4)), "zero byte");
}

TEST_F(Safetensors, RefusesTheSameNameTwice) {
  constexpr std::string_view one = R"("a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  const std::string header = "{" + std::string(one) + "," + std::string(one) + "}";
  expect_complaint(complaint(header, 1), "'a' twice");
  expect_complaint(complaint(R"({"__metadata__":{},"__metadata__":{}})"), "twice");
  expect_complaint(complaint(R"({"__metadata__":{"k":"1","k":"2"}})"), "'k' twice");
  expect_complaint(
      complaint(R"({"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}})", 1),
      "'dtype' twice");
}

TEST_F(Safetensors, RefusesAnUnknownDtype) {
  expect_complaint(complaint(R"({"a":{"dtype":"F12","shape":[1],"data_offsets":[0,1]}})", 1),
                   "unknown dtype 'F12'");
}

TEST_F(Safetensors, RefusesAShapeThatDoesNotFitItsBytes) {
  expect_complaint(complaint(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,16]}})", 16),
                   "should take 12 bytes");
  expect_complaint(complaint(R"({"a":{"dtype":"F64","shape":[2],"data_offsets":[0,8]}})", 8),
                   "should take 16 bytes");
}

TEST_F(Safetensors, RefusesSizesThatOverflow) {
  expect_complaint(complaint(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],)"
                             R"("data_offsets":[0,0]}})"),
                   "overflows");
  expect_complaint(complaint(R"({"a":{"dtype":"F32","shape":[9223372036854775808,0],)"
                             R"("data_offsets":[0,0]}})"),
                   "overflows");
  expect_complaint(complaint(R"({"a":{"dtype":"F32","shape":[4611686018427387904],)"
                             R"("data_offsets":[0,0]}})"),
                   "overflows");
}

TEST_F(Safetensors, RefusesNumbersThatAreNoSizes) {
  for (const auto* shape : {"[-1]", "[1.0]", "[1e3]", "[true]", "[null]", R"(["1"])", "[[1]]",
                            "[18446744073709551616]", "1", R"("1")", "{}"})
    expect_complaint(complaint(R"({"a":{"dtype":"U8","shape":)" + std::string(shape) +
                                   R"(,"data_offsets":[0,1]}})",
                               1),
                     "header");
}

TEST_F(Safetensors, RefusesOverlaps) {
  expect_complaint(complaint(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                             R"("b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
                             6),
                   "overlaps");
}

TEST_F(Safetensors, RefusesGaps) {
  expect_complaint(complaint(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                             R"("b":{"dtype":"U8","shape":[4],"data_offsets":[5,9]}})",
                             9),
                   "gap");
  expect_complaint(complaint(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[1,5]}})", 5), "gap");
}

TEST_F(Safetensors, RefusesRangesBeyondTheFile) {
  expect_complaint(complaint(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 3),
                   "claims bytes 0 to 4 of 3");
  expect_complaint(complaint(R"({"a":{"dtype":"U8","shape":[4],)"
                             R"("data_offsets":[18446744073709551612,0]}})",
                             4),
                   "claims bytes");
  expect_complaint(complaint(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[4,0]}})", 4),
                   "claims bytes 4 to 0");
}

TEST_F(Safetensors, RefusesBytesThatBelongToNoTensor) {
  expect_complaint(complaint_about(sound_file() + "tail"), "cover 22 of 26 bytes");
  expect_complaint(complaint("{}", 1), "cover 0 of 1 bytes");
}

TEST_F(Safetensors, RefusesIncompleteEntries) {
  expect_complaint(complaint(R"({"a":{}})"), "lacks");
  expect_complaint(complaint(R"({"a":{"dtype":"U8","shape":[1]}})", 1), "lacks");
  expect_complaint(complaint(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}})", 1),
                   "1 data_offsets, not 2");
  expect_complaint(complaint(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":[]}})", 1),
                   "unknown field 'x'");
  expect_complaint(complaint(R"({"a":[]})"), "an array");
}

TEST_F(Safetensors, RefusesMetadataThatIsNotText) {
  expect_complaint(complaint(R"({"__metadata__":{"k":1}})"), "a number");
  expect_complaint(complaint(R"({"__metadata__":{"k":{}}})"), "an object");
  expect_complaint(complaint(R"({"__metadata__":"text"})"), "text");
  expect_complaint(complaint(R"({"__metadata__":null})"), "null");
}

TEST_F(Safetensors, RefusesDeepNestingWithoutFollowingIt) {
  constexpr size_t depth = 2'000'000;
  expect_complaint(complaint(std::string(depth, '[')), "an array");
  std::string objects;
  for (size_t i = 0; i < depth; ++i) objects += R"({"a":)";
  expect_complaint(complaint(objects), "unknown field");
  expect_complaint(
      complaint(R"({"a":{"dtype":"U8","data_offsets":[0,1],"shape":)" + std::string(depth, '['), 1),
      "header");
}

TEST_F(Safetensors, SaysWhatAnotherFormatIs) {
  expect_complaint(complaint_about("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
                   "git lfs pull");
  expect_complaint(complaint_about(std::string("PK\x03\x04", 4) + std::string(60, 'x')), "pickle");
  expect_complaint(complaint_about("GGUF" + std::string(60, 'x')), "GGUF");
  expect_complaint(complaint_about("<!DOCTYPE html><html></html>"), "web page");
}

TEST_F(Safetensors, HidesControlCharactersOfHostileNames) {
  const auto text =
      complaint(R"({"\u001b[2J\n":{"dtype":"X","shape":[1],"data_offsets":[0,1]}})", 1);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_EQ(text.find('\n'), std::string::npos);
  EXPECT_NE(text.find("\\x1b[2J"), std::string::npos) << text;
}

TEST_F(Safetensors, RefusesEveryTruncation) {
  const std::string bytes = sound_file();
  for (size_t length = 0; length < bytes.size(); ++length)
    EXPECT_NE(complaint_about(std::string_view(bytes).substr(0, length)), "") << length;
}

// One to four edits: a bit flipped, a byte of JSON written over, a piece copied elsewhere, cut out
// or inserted, the header's length changed.
std::string mutated(std::string bytes, std::mt19937& random) {
  constexpr std::string_view json = "{}[]\",:0123456789eE-+.ntf\\u \xff";
  const auto below = [&](size_t n) { return n == 0 ? 0 : random() % n; };
  for (size_t edits = 1 + below(4); edits > 0; --edits) {
    const size_t place = below(bytes.size()), length = below(std::min<size_t>(24, bytes.size()));
    switch (below(6)) {
      case 0:
        bytes[place] = static_cast<char>(bytes[place] ^ (1 << below(8)));
        break;
      case 1:
        bytes[place] = json[below(json.size())];
        break;
      case 2:
        bytes.insert(below(bytes.size()), bytes.substr(place, length));
        break;
      case 3:
        bytes.erase(place, length);
        break;
      case 4:
        bytes[below(8)] = static_cast<char>(random());
        break;
      case 5:
        bytes.insert(place, 1, json[below(json.size())]);
        break;
    }
    if (bytes.empty()) bytes = "x";
  }
  return bytes;
}

TEST_F(Safetensors, SurvivesMutations) {
  std::mt19937 random(20240229);
  int refused = 0, taken = 0;
  for (int i = 0; i < 3000; ++i) {
    try {
      const auto file = open(mutated(sound_file(), random));
      // Whatever is believed can be read.
      unsigned sum = 0;
      for (const auto& [name, view] : file.tensors())
        for (const std::byte byte : view.bytes) sum += static_cast<unsigned>(byte);
      EXPECT_LE(sum, 255u * 22u);
      ++taken;
    } catch (const LoadError& error) {
      EXPECT_FALSE(error.mend().empty());
      ++refused;
    }
  }
  // Both ends are reached: flips in data are harmless, most of the rest is not.
  EXPECT_GT(taken, 30);
  EXPECT_GT(refused, 1500);
}

}  // namespace
}  // namespace backlot
