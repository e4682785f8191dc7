#include "weights/gguf_blocks.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace backlot {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF data is little-endian");

constexpr int64_t super_block = 256;  // elements in a block of the K types

struct Layout {
  std::string_view name;
  BlockType type;
  int64_t elements, bytes, group;
  int bits;
  int zero;  // the code that stands for 0 where the block has no minimum
  bool has_min;
};

constexpr std::array layouts = {Layout{"F32", BlockType::f32, 1, 4, 0, 0, 0, false},
                                Layout{"F16", BlockType::f16, 1, 2, 0, 0, 0, false},
                                Layout{"BF16", BlockType::bf16, 1, 2, 0, 0, 0, false},
                                Layout{"Q8_0", BlockType::q8_0, 32, 34, 32, 8, 128, false},
                                Layout{"Q4_0", BlockType::q4_0, 32, 18, 32, 4, 8, false},
                                Layout{"Q4_1", BlockType::q4_1, 32, 20, 32, 4, 0, true},
                                Layout{"Q5_0", BlockType::q5_0, 32, 22, 32, 8, 16, false},
                                Layout{"Q5_1", BlockType::q5_1, 32, 24, 32, 8, 0, true},
                                Layout{"Q2_K", BlockType::q2_k, 256, 84, 16, 4, 0, true},
                                Layout{"Q3_K", BlockType::q3_k, 256, 110, 16, 4, 4, false},
                                Layout{"Q4_K", BlockType::q4_k, 256, 144, 32, 4, 0, true},
                                Layout{"Q5_K", BlockType::q5_k, 256, 176, 32, 8, 0, true},
                                Layout{"Q6_K", BlockType::q6_k, 256, 210, 16, 8, 32, false}};

const Layout& layout(BlockType type) { return *std::ranges::find(layouts, type, &Layout::type); }

// What other files hold; ggml.h, enum ggml_type.
constexpr std::array<std::pair<uint32_t, std::string_view>, 22> other_types = {{
    {4, "Q4_2"},     {5, "Q4_3"},   {9, "Q8_1"},    {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"},
    {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"}, {22, "IQ2_S"},   {23, "IQ4_XS"},
    {24, "I8"},      {25, "I16"},   {26, "I32"},    {27, "I64"},   {28, "F64"},     {29, "IQ1_M"},
    {34, "TQ1_0"},   {35, "TQ2_0"}, {39, "MXFP4"},  {40, "NVFP4"},
}};

template <class T>
T load(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// Without the float unit's subnormals, which a program may have switched off: half has its own.
float from_half(uint16_t half) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16;
  const uint32_t exponent = (half >> 10) & 31u, fraction = half & 1023u;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | fraction << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
  const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
}

float half_at(const uint8_t* at) { return from_half(load<uint16_t>(at)); }

// A block's codes, and for each group its scale and, if the type has one, its minimum. One reader a
// type; in each, `block` is laid out as ggml's struct of that name.
struct Unpacked {
  uint8_t* codes;
  float *scales, *mins;
};

// 16 bytes to 32 elements: the low halves first, then the high ones.
void split_nibbles(const uint8_t* bytes, uint8_t* codes) {
  for (int i = 0; i < 16; ++i) {
    codes[i] = bytes[i] & 15;
    codes[i + 16] = bytes[i] >> 4;
  }
}

void add_fifth_bits(uint32_t bits, uint8_t* codes) {
  for (int i = 0; i < 32; ++i) codes[i] = static_cast<uint8_t>(codes[i] | ((bits >> i) & 1) << 4);
}

void unpack_q8_0(const uint8_t* block, const Unpacked& out) {
  out.scales[0] = half_at(block);
  for (int i = 0; i < 32; ++i) out.codes[i] = block[2 + i] ^ 0x80;
}

void unpack_q4_0(const uint8_t* block, const Unpacked& out) {
  out.scales[0] = half_at(block);
  split_nibbles(block + 2, out.codes);
}

void unpack_q4_1(const uint8_t* block, const Unpacked& out) {
  out.scales[0] = half_at(block);
  out.mins[0] = half_at(block + 2);
  split_nibbles(block + 4, out.codes);
}

void unpack_q5_0(const uint8_t* block, const Unpacked& out) {
  out.scales[0] = half_at(block);
  split_nibbles(block + 6, out.codes);
  add_fifth_bits(load<uint32_t>(block + 2), out.codes);
}

void unpack_q5_1(const uint8_t* block, const Unpacked& out) {
  out.scales[0] = half_at(block);
  out.mins[0] = half_at(block + 2);
  split_nibbles(block + 8, out.codes);
  add_fifth_bits(load<uint32_t>(block + 4), out.codes);
}

// 64 bytes to 256 elements of 2 bits: per 32 bytes 128 elements, the lowest bits first.
void split_pairs(const uint8_t* bytes, uint8_t* codes) {
  for (int half = 0; half < 2; ++half)
    for (int shift = 0; shift < 4; ++shift)
      for (int i = 0; i < 32; ++i)
        codes[128 * half + 32 * shift + i] = (bytes[32 * half + i] >> (2 * shift)) & 3;
}

void unpack_q2_k(const uint8_t* block, const Unpacked& out) {
  const uint8_t* scales = block;
  const float d = half_at(block + 80), dmin = half_at(block + 82);
  for (int group = 0; group < 16; ++group) {
    out.scales[group] = d * static_cast<float>(scales[group] & 15);
    out.mins[group] = -(dmin * static_cast<float>(scales[group] >> 4));
  }
  split_pairs(block + 16, out.codes);
}

void unpack_q3_k(const uint8_t* block, const Unpacked& out) {
  const uint8_t *high = block, *scales = block + 96;
  const float d = half_at(block + 108);
  for (int group = 0; group < 16; ++group) {
    const int low = (scales[group % 8] >> (group < 8 ? 0 : 4)) & 15;
    const int top = (scales[8 + group % 4] >> (2 * (group / 4))) & 3;
    out.scales[group] = d * static_cast<float>((low | top << 4) - 32);
  }
  split_pairs(block + 32, out.codes);
  for (int i = 0; i < super_block; ++i)
    out.codes[i] = static_cast<uint8_t>(out.codes[i] | ((high[i % 32] >> (i / 32)) & 1) << 2);
}

// The eight scales and minima of Q4_K and Q5_K, six bits each in 12 bytes, times the block's own.
void unpack_scales(const uint8_t* block, const Unpacked& out) {
  const float d = half_at(block), dmin = half_at(block + 2);
  const uint8_t* packed = block + 4;
  for (int group = 0; group < 8; ++group) {
    int scale = packed[group] & 63, min = packed[group + 4] & 63;
    if (group >= 4) {
      scale = (packed[group + 4] & 15) | (packed[group - 4] >> 6) << 4;
      min = (packed[group + 4] >> 4) | (packed[group] >> 6) << 4;
    }
    out.scales[group] = d * static_cast<float>(scale);
    out.mins[group] = -(dmin * static_cast<float>(min));
  }
}

// 128 bytes to 256 elements: per 32 bytes 64 elements, the low halves first.
void split_wide_nibbles(const uint8_t* bytes, uint8_t* codes) {
  for (int part = 0; part < 4; ++part)
    for (int i = 0; i < 32; ++i) {
      codes[64 * part + i] = bytes[32 * part + i] & 15;
      codes[64 * part + 32 + i] = bytes[32 * part + i] >> 4;
    }
}

void unpack_q4_k(const uint8_t* block, const Unpacked& out) {
  unpack_scales(block, out);
  split_wide_nibbles(block + 16, out.codes);
}

void unpack_q5_k(const uint8_t* block, const Unpacked& out) {
  unpack_scales(block, out);
  split_wide_nibbles(block + 48, out.codes);
  const uint8_t* high = block + 16;
  for (int group = 0; group < 8; ++group)
    for (int i = 0; i < 32; ++i) {
      uint8_t& code = out.codes[32 * group + i];
      code = static_cast<uint8_t>(code | ((high[i] >> group) & 1) << 4);
    }
}

void unpack_q6_k(const uint8_t* block, const Unpacked& out) {
  const float d = half_at(block + 208);
  for (int group = 0; group < 16; ++group)
    out.scales[group] = d * static_cast<float>(load<int8_t>(block + 192 + group));
  for (int half = 0; half < 2; ++half) {
    const uint8_t *low = block + 64 * half, *high = block + 128 + 32 * half;
    uint8_t* codes = out.codes + 128 * half;
    for (int i = 0; i < 32; ++i) {
      const auto join = [&](int nibble, int quarter) {
        return static_cast<uint8_t>((nibble & 15) | ((high[i] >> (2 * quarter)) & 3) << 4);
      };
      codes[i] = join(low[i], 0);
      codes[i + 32] = join(low[i + 32], 1);
      codes[i + 64] = join(low[i] >> 4, 2);
      codes[i + 96] = join(low[i + 32] >> 4, 3);
    }
  }
}

using Unpack = void (*)(const uint8_t*, const Unpacked&);

Unpack unpacker(BlockType type) {
  switch (type) {
    case BlockType::q8_0:
      return unpack_q8_0;
    case BlockType::q4_0:
      return unpack_q4_0;
    case BlockType::q4_1:
      return unpack_q4_1;
    case BlockType::q5_0:
      return unpack_q5_0;
    case BlockType::q5_1:
      return unpack_q5_1;
    case BlockType::q2_k:
      return unpack_q2_k;
    case BlockType::q3_k:
      return unpack_q3_k;
    case BlockType::q4_k:
      return unpack_q4_k;
    case BlockType::q5_k:
      return unpack_q5_k;
    case BlockType::q6_k:
      return unpack_q6_k;
    case BlockType::f32:
    case BlockType::f16:
    case BlockType::bf16:
      break;
  }
  throw std::invalid_argument(fmt::format("{} has no codes", block_type_name(type)));
}

void check_size(const Layout& of, std::span<const std::byte> bytes, int64_t count) {
  if (count < 0 || count % of.elements != 0 ||
      std::cmp_not_equal(bytes.size(), count / of.elements * of.bytes))
    throw std::invalid_argument(
        fmt::format("{} bytes are not {} elements of {}", bytes.size(), count, of.name));
}

// Symmetric types multiply the signed number, as ggml does: its zeros keep their sign, and an
// infinite scale gives what it gives there.
void dequantize_codes(const Layout& of, const uint8_t* bytes, float* out, int64_t count) {
  const Unpack unpack = unpacker(of.type);
  std::array<uint8_t, super_block> codes;
  std::array<float, super_block / 16> scales, mins;
  for (int64_t at = 0; at < count; at += of.elements, bytes += of.bytes) {
    unpack(bytes, {codes.data(), scales.data(), mins.data()});
    for (int64_t first = 0; first < of.elements; first += of.group) {
      const auto group = static_cast<size_t>(first / of.group);
      const float scale = scales[group], min = of.has_min ? mins[group] : 0.0F;
      const uint8_t* from = codes.data() + first;
      float* to = out + at + first;
      if (of.has_min) {
        for (int64_t i = 0; i < of.group; ++i) to[i] = scale * static_cast<float>(from[i]) + min;
      } else {
        for (int64_t i = 0; i < of.group; ++i)
          to[i] = scale * static_cast<float>(static_cast<int>(from[i]) - of.zero);
      }
    }
  }
}

}  // namespace

std::optional<BlockType> block_type(uint32_t ggml_type) {
  for (const auto& each : layouts)
    if (static_cast<uint32_t>(each.type) == ggml_type) return each.type;
  return std::nullopt;
}

std::string ggml_type_name(uint32_t ggml_type) {
  if (const auto type = block_type(ggml_type)) return std::string(block_type_name(*type));
  for (const auto& [number, name] : other_types)
    if (number == ggml_type) return std::string(name);
  return fmt::format("type {}", ggml_type);
}

std::string_view block_type_name(BlockType type) { return layout(type).name; }

std::string supported_block_types() {
  std::string names;
  for (const auto& each : layouts)
    names += fmt::format("{}{}", names.empty() ? "" : ", ", each.name);
  return names;
}

int64_t block_elements(BlockType type) { return layout(type).elements; }
int64_t block_bytes(BlockType type) { return layout(type).bytes; }
int64_t row_bytes(BlockType type, int64_t elements) {
  return elements / layout(type).elements * layout(type).bytes;
}
bool is_quantized(BlockType type) { return layout(type).group != 0; }
int64_t group_of(BlockType type) { return layout(type).group; }
int bits_of(BlockType type) { return layout(type).bits; }

void dequantize(BlockType type, std::span<const std::byte> bytes, float* out, int64_t count) {
  check_size(layout(type), bytes, count);
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  if (count == 0) return;
  if (type == BlockType::f32) {
    std::memcpy(out, data, bytes.size());
  } else if (type == BlockType::f16) {
    for (int64_t i = 0; i < count; ++i) out[i] = half_at(data + 2 * i);
  } else if (type == BlockType::bf16) {
    for (int64_t i = 0; i < count; ++i)
      out[i] = std::bit_cast<float>(uint32_t{load<uint16_t>(data + 2 * i)} << 16);
  } else {
    dequantize_codes(layout(type), data, out, count);
  }
}

void unpack_groups(BlockType type, std::span<const std::byte> row, int64_t in_features,
                   uint8_t* codes, float* scales, float* mins) {
  const Layout& of = layout(type);
  const Unpack unpack = unpacker(type);
  check_size(of, row, in_features);
  const auto* bytes = reinterpret_cast<const uint8_t*>(row.data());
  const int64_t groups = of.elements / of.group;
  for (int64_t block = 0; block < in_features / of.elements; ++block) {
    const Unpacked out{codes + block * of.elements, scales + block * groups, mins + block * groups};
    unpack(bytes + block * of.bytes, out);
    if (of.has_min) continue;
    for (int64_t group = 0; group < groups; ++group)
      out.mins[group] = static_cast<float>(-of.zero) * out.scales[group];
  }
}

}  // namespace backlot
