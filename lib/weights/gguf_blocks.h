// The number formats of GGUF tensors: blocks of integer codes with a scale, and often a minimum.
// Layouts and formulas are ggml's (ggml-common.h, ggml-quants.c), so that the numbers are the same
// to the bit. No LibTorch here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace backlot {

// The values are those of ggml_type in a file.
enum class BlockType : uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q2_k = 10,
  q3_k = 11,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  bf16 = 30,
};

// Nothing for a number that is no type backlot reads.
std::optional<BlockType> block_type(uint32_t ggml_type);

// "Q4_K"; for types that backlot doesn't read as well, "type 99" for a number nobody uses.
std::string ggml_type_name(uint32_t ggml_type);
std::string_view block_type_name(BlockType type);

// "F32, F16, BF16, Q8_0, …": for messages.
std::string supported_block_types();

// Elements in a block, 1 for plain numbers; a tensor's rows are whole blocks.
int64_t block_elements(BlockType type);
// Bytes of a block.
int64_t block_bytes(BlockType type);
// Bytes of `elements` consecutive ones, a multiple of block_elements().
int64_t row_bytes(BlockType type, int64_t elements);

// Whether elements are integer codes; otherwise they are floating-point numbers.
bool is_quantized(BlockType type);
// Elements that share a scale and a minimum: 32 or 16; 0 for plain numbers.
int64_t group_of(BlockType type);
// Bits that hold every code of unpack_groups: 4 or 8; 0 for plain numbers.
int bits_of(BlockType type);

// `count` elements, a multiple of block_elements(), from row_bytes(type, count) bytes. `bytes` need
// not be aligned. Throws std::invalid_argument if count and bytes don't agree.
void dequantize(BlockType type, std::span<const std::byte> bytes, float* out, int64_t count);

// A row of codes as unsigned numbers, for kernels that pack them anew: element i is
// scales[g] * codes[i] + mins[g] with g = i / group_of(type), in float32 exactly dequantize()'s
// value (but for the sign of a zero). `codes` has in_features places, `scales` and `mins`
// in_features / group_of(type). Throws std::invalid_argument for plain numbers, or if in_features
// and bytes don't agree.
void unpack_groups(BlockType type, std::span<const std::byte> row, int64_t in_features,
                   uint8_t* codes, float* scales, float* mins);

}  // namespace backlot
