#include "weights/gguf_blocks.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "weights/safetensors.h"

namespace backlot {
namespace {

constexpr BlockType all_types[] = {
    BlockType::f32,  BlockType::f16,  BlockType::bf16, BlockType::q8_0, BlockType::q4_0,
    BlockType::q4_1, BlockType::q5_0, BlockType::q5_1, BlockType::q2_k, BlockType::q3_k,
    BlockType::q4_k, BlockType::q5_k, BlockType::q6_k};

// Blocks and what they stand for, from the reference implementation:
// tests/data/gguf/make_blocks.py.
class GgufBlocks : public ::testing::TestWithParam<BlockType> {
 protected:
  GgufBlocks() : file_(fs::path(BACKLOT_TEST_DATA) / "gguf/blocks.safetensors") {
    const std::string name(block_type_name(GetParam()));
    blocks_ = file_.tensors().at(name + ".blocks").bytes;
    const auto& view = file_.tensors().at(name + ".values");
    values_.resize(static_cast<size_t>(view.elements()));
    std::memcpy(values_.data(), view.bytes.data(), view.bytes.size());
  }

  SafetensorsFile file_;
  std::span<const std::byte> blocks_;
  std::vector<float> values_;
};

TEST_P(GgufBlocks, GivesTheReferencesNumbersToTheBit) {
  ASSERT_GE(values_.size(), 64u);
  std::vector<float> own(values_.size());
  dequantize(GetParam(), blocks_, own.data(), std::ssize(own));
  for (size_t i = 0; i < own.size(); ++i)
    ASSERT_EQ(std::bit_cast<uint32_t>(own[i]), std::bit_cast<uint32_t>(values_[i]))
        << i << ": " << own[i] << " is not " << values_[i];
}

TEST_P(GgufBlocks, ReadsBytesThatAreNotAligned) {
  std::vector<std::byte> moved(blocks_.size() + 1);
  std::memcpy(moved.data() + 1, blocks_.data(), blocks_.size());
  std::vector<float> own(values_.size());
  dequantize(GetParam(), std::span(moved).subspan(1), own.data(), std::ssize(own));
  EXPECT_EQ(std::memcmp(own.data(), values_.data(), own.size() * sizeof(float)), 0);
}

TEST_P(GgufBlocks, GivesCodesScalesAndMins) {
  const BlockType type = GetParam();
  const int64_t group = group_of(type), count = std::ssize(values_);
  std::vector<uint8_t> codes(values_.size());
  if (!is_quantized(type)) {
    EXPECT_EQ(group, 0);
    EXPECT_EQ(bits_of(type), 0);
    EXPECT_THROW(unpack_groups(type, blocks_, count, codes.data(), nullptr, nullptr),
                 std::invalid_argument);
    return;
  }
  ASSERT_TRUE(group == 16 || group == 32);
  std::vector<float> scales(static_cast<size_t>(count / group)), mins(scales.size());
  unpack_groups(type, blocks_, count, codes.data(), scales.data(), mins.data());
  int largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<size_t>(i), g = static_cast<size_t>(i / group);
    largest = std::max<int>(largest, codes[at]);
    EXPECT_EQ(scales[g] * static_cast<float>(codes[at]) + mins[g], values_[at]) << i;
  }
  EXPECT_LT(largest, 1 << bits_of(type));
  // No type that would do with fewer bits is said to need more.
  EXPECT_EQ(largest > 15, bits_of(type) == 8);
}

TEST_P(GgufBlocks, RefusesSizesThatDoNotAgree) {
  std::vector<float> own(values_.size() + 256);
  const int64_t count = std::ssize(values_);
  const auto shorter = blocks_.first(blocks_.size() - 1);
  EXPECT_THROW(dequantize(GetParam(), shorter, own.data(), count), std::invalid_argument);
  EXPECT_THROW(dequantize(GetParam(), blocks_, own.data(), count - 1), std::invalid_argument);
  EXPECT_THROW(dequantize(GetParam(), blocks_, own.data(), -count), std::invalid_argument);
  EXPECT_EQ(row_bytes(GetParam(), count), std::ssize(blocks_));
  EXPECT_NO_THROW(dequantize(GetParam(), blocks_.first(0), own.data(), 0));
}

INSTANTIATE_TEST_SUITE_P(Types, GgufBlocks, ::testing::ValuesIn(all_types),
                         [](const auto& test) { return std::string(block_type_name(test.param)); });

TEST(GgufTypes, AreKnownByNumberAndName) {
  for (const BlockType type : all_types) EXPECT_EQ(block_type(static_cast<uint32_t>(type)), type);
  EXPECT_FALSE(block_type(23));
  EXPECT_EQ(ggml_type_name(12), "Q4_K");
  EXPECT_EQ(ggml_type_name(23), "IQ4_XS");
  EXPECT_EQ(ggml_type_name(77), "type 77");
}

}  // namespace
}  // namespace backlot
