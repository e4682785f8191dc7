#include "kernels/quantized.h"

#include <cstring>

#include "kernels/float16.h"
#include "kernels/versions.h"

namespace backlot::kernels {
namespace {

constexpr int64_t panel_columns = QuantizedShape::panel_columns;

// Where a weight row is kept.
struct Place {
  int64_t panel, column;
};

Place place_of(const QuantizedShape& shape, int64_t row) {
  if (!shape.gated) return {row / panel_columns, row % panel_columns};
  const int64_t half = panel_columns / 2, up = row >= shape.out;
  const int64_t at = row - up * shape.out;
  return {at / half, up * half + at % half};
}

void store_scale(ScaleType type, float value, std::byte* scales, int64_t column) {
  if (type == ScaleType::float32) {
    std::memcpy(scales + column * sizeof value, &value, sizeof value);
  } else {
    const uint16_t half = to_float16(value);
    std::memcpy(scales + column * sizeof half, &half, sizeof half);
  }
}

float load_scale(ScaleType type, const std::byte* scales, int64_t column) {
  if (type == ScaleType::float32) {
    float value;
    std::memcpy(&value, scales + column * sizeof value, sizeof value);
    return value;
  }
  uint16_t half;
  std::memcpy(&half, scales + column * sizeof half, sizeof half);
  return from_float16(half);
}

// The parts of one group of a panel.
struct Group {
  Group(const QuantizedShape& shape, size_t panel, size_t group)
      : scales(panel * shape.panel_bytes() + group * shape.group_bytes()),
        mins(scales + panel_columns * (shape.scales == ScaleType::float16 ? 2 : 4)),
        codes(2 * mins - scales) {}
  size_t scales, mins, codes;  // offsets in bytes
};

// Of the inputs k … k + 3 of a column within a group; two such fours share bytes at four bits.
size_t code_offset(const QuantizedShape& shape, int64_t k, int64_t column) {
  const int64_t at_once = shape.bits == 4 ? 8 : 4;
  return (k / at_once * panel_columns + column) * 4 + k % 4;
}

}  // namespace

bool exact_in_float16(const float* values, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    if (from_float16(to_float16(values[i])) != values[i]) return false;
  }
  return true;
}

void pack_quantized_rows(const QuantizedShape& shape, int64_t begin, int64_t end,
                         const uint8_t* codes, const float* scales, const float* mins,
                         std::byte* packed) {
  for (int64_t row = begin; row < end; ++row) {
    const auto [panel, column] = place_of(shape, row);
    for (int64_t group = 0; group < shape.groups(); ++group) {
      const Group at(shape, panel, group);
      store_scale(shape.scales, *scales++, packed + at.scales, column);
      store_scale(shape.scales, *mins++, packed + at.mins, column);
      for (int64_t k = 0; k < shape.group; ++k) {
        auto& byte = packed[at.codes + code_offset(shape, k, column)];
        const auto code = static_cast<std::byte>(*codes++);
        byte = shape.bits == 8 ? code
               : k % 8 < 4     ? (byte & std::byte{0xf0}) | code
                               : (byte & std::byte{0x0f}) | code << 4;
      }
    }
  }
}

void unpack_quantized_row(const QuantizedShape& shape, const std::byte* packed, int64_t row,
                          float* out) {
  const auto [panel, column] = place_of(shape, row);
  for (int64_t group = 0; group < shape.groups(); ++group) {
    const Group at(shape, panel, group);
    const float scale = load_scale(shape.scales, packed + at.scales, column);
    const float minimum = load_scale(shape.scales, packed + at.mins, column);
    for (int64_t k = 0; k < shape.group; ++k) {
      auto code = static_cast<unsigned>(packed[at.codes + code_offset(shape, k, column)]);
      if (shape.bits == 4) code = k % 8 < 4 ? code & 15 : code >> 4;
      *out++ = scale * static_cast<float>(code) + minimum;
    }
  }
}

void quantize_rows(const QuantizedShape& shape, const float* x, int64_t stride,
                   const QuantizedRows& to, int64_t begin, int64_t end, Isa isa) {
  version_for(isa).quantize_rows(shape, x, stride, to, begin, end);
}

void quantized_linear(const QuantizedShape& shape, const std::byte* packed,
                      const QuantizedRows& rows, const QuantizedOut& out, int64_t begin,
                      int64_t end, int64_t first, int64_t last, Isa isa) {
  version_for(isa).quantized_linear(shape, packed, rows, out, begin, end, first, last);
}

}  // namespace backlot::kernels
