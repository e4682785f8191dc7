#include "kernels/quantized.h"

#include <gtest/gtest.h>

#include <cmath>
#include <new>
#include <numeric>

#include "kernels/float16.h"
#include "kernels/made_values.h"

namespace backlot::kernels {
namespace {

using Bytes = std::vector<std::byte>;

// A layer's weight as it was before packing, and packed.
struct Weight {
  Weight(const QuantizedShape& shape, MadeValues& made) : shape(shape) {
    const int64_t rows = shape.weight_rows();
    for (int64_t i = 0; i < rows * shape.in; ++i) codes.push_back(made.whole(1 << shape.bits));
    scales = made.reals(rows * shape.groups(), 0.0001f, 0.01f);
    mins = made.reals(rows * shape.groups(), -0.5f, 0.1f);
    if (shape.scales == ScaleType::float16) {
      for (auto* values : {&scales, &mins}) {
        for (auto& value : *values) value = from_float16(to_float16(value));
      }
    }
    pack();
  }

  void pack() {
    packed.assign(shape.packed_bytes(), std::byte{0});
    pack_quantized_rows(shape, 0, shape.weight_rows(), codes.data(), scales.data(), mins.data(),
                        packed.data());
  }

  double value(int64_t row, int64_t k) const {
    const int64_t group = row * shape.groups() + k / shape.group;
    return double{scales[group]} * codes[row * shape.in + k] + mins[group];
  }

  QuantizedShape shape;
  std::vector<uint8_t> codes;
  std::vector<float> scales, mins;
  Bytes packed;
};

struct Activations {
  Activations(const QuantizedShape& shape, const std::vector<float>& x, Isa isa)
      : count(static_cast<int64_t>(x.size()) / shape.in),
        codes(x.size()),
        scales(count * shape.blocks()),
        sums(count * shape.groups()) {
    quantize_rows(shape, x.data(), shape.in, rows(), 0, count, isa);
  }

  QuantizedRows rows() { return {codes.data(), scales.data(), sums.data()}; }
  // What the codes stand for.
  double value(const QuantizedShape& shape, int64_t row, int64_t k) const {
    return double{scales[row * shape.blocks() + k / shape.block()]} * codes[row * shape.in + k];
  }

  int64_t count;
  std::vector<int8_t> codes;
  std::vector<float> scales, sums;
};

// A product in double precision, and how large its terms are together.
struct Sum {
  double value = 0, magnitude = 0;
};

Sum product(const Weight& weight, const Activations& x, int64_t row, int64_t weight_row) {
  Sum sum;
  for (int64_t k = 0; k < weight.shape.in; ++k) {
    const int64_t group = weight_row * weight.shape.groups() + k / weight.shape.group;
    const double a = x.value(weight.shape, row, k);
    sum.value += weight.value(weight_row, k) * a;
    sum.magnitude +=
        std::abs(a) * (weight.scales[group] * weight.codes[weight_row * weight.shape.in + k] +
                       std::abs(weight.mins[group]));
  }
  return sum;
}

std::vector<float> multiply(const Weight& weight, Activations& x, Isa isa,
                            const float* bias = nullptr, const float* residual = nullptr) {
  const auto& shape = weight.shape;
  std::vector<float> out(x.count * shape.out, NAN);
  quantized_linear(shape, weight.packed.data(), x.rows(), {out.data(), shape.out, bias, residual},
                   0, x.count, 0, shape.panels(), isa);
  return out;
}

std::string describe(const QuantizedShape& shape) {
  return std::to_string(shape.in) + " to " + std::to_string(shape.out) + ", " +
         std::to_string(shape.bits) + " bits, group " + std::to_string(shape.group) +
         (shape.scales == ScaleType::float16 ? ", float16" : ", float32") +
         (shape.gated ? ", gated" : "");
}

std::vector<QuantizedShape> shapes() {
  std::vector<QuantizedShape> all;
  for (const int bits : {4, 8}) {
    for (const int group : {16, 32, 64, 128}) {
      for (const auto scales : {ScaleType::float16, ScaleType::float32}) {
        all.push_back({group * 3, 70, bits, group, scales, false});
        all.push_back({group, 1, bits, group, scales, false});
        all.push_back({group * 2, 41, bits, group, scales, true});
        all.push_back({group * 5, 96, bits, group, scales, group == 32});
      }
    }
  }
  return all;
}

class Quantized : public testing::TestWithParam<Isa> {
 protected:
  MadeValues made;
};

TEST_P(Quantized, AgreesWithPlainLoops) {
  for (const auto& shape : shapes()) {
    SCOPED_TRACE(describe(shape));
    const Weight weight(shape, made);
    const auto bias = made.reals(shape.weight_rows());
    for (const int64_t rows : {1, 2, 3, 8, 13}) {
      Activations x(shape, made.reals(rows * shape.in), GetParam());
      const auto residual = made.reals(rows * shape.out);
      const auto out =
          multiply(weight, x, GetParam(), bias.data(), shape.gated ? nullptr : residual.data());
      for (int64_t i = 0; i < rows * shape.out; ++i) {
        const int64_t row = i / shape.out, column = i % shape.out;
        const auto sum = product(weight, x, row, column);
        double expected = sum.value + bias[column], near = 1e-6 * (sum.magnitude + 1);
        if (shape.gated) {
          const auto up = product(weight, x, row, shape.out + column);
          expected *= (up.value + bias[shape.out + column]) / (1 + std::exp(-expected));
          near = 3e-6 * (sum.magnitude + 1) * (up.magnitude + 1);
        } else {
          expected += residual[i];
        }
        ASSERT_NEAR(out[i], expected, near) << "row " << row << " column " << column;
      }
    }
  }
}

TEST_P(Quantized, NeedsNeitherBiasNorResidual) {
  for (const bool gated : {false, true}) {
    const QuantizedShape shape{64, 40, 4, 32, ScaleType::float16, gated};
    const Weight weight(shape, made);
    Activations x(shape, made.reals(2 * shape.in), GetParam());
    const std::vector<float> zeros(2 * shape.weight_rows(), 0.0f);
    EXPECT_EQ(multiply(weight, x, GetParam()),
              multiply(weight, x, GetParam(), zeros.data(), gated ? nullptr : zeros.data()));
  }
}

TEST_P(Quantized, AddsToItsOwnResidual) {
  const QuantizedShape shape{64, 50, 8, 32};
  const Weight weight(shape, made);
  Activations x(shape, made.reals(3 * shape.in), GetParam());
  const auto residual = made.reals(3 * shape.out);
  auto stream = residual;
  quantized_linear(shape, weight.packed.data(), x.rows(),
                   {stream.data(), shape.out, nullptr, stream.data()}, 0, 3, 0, shape.panels(),
                   GetParam());
  EXPECT_EQ(stream, multiply(weight, x, GetParam(), nullptr, residual.data()));
}

// All codes and activations as large as can be: nothing saturates, dots are exact.
TEST_P(Quantized, ExtremesAreExact) {
  for (const int bits : {4, 8}) {
    for (const int group : {16, 32, 128}) {
      for (const int sign : {1, -1}) {
        Weight weight({group * 2, 35, bits, group}, made);
        std::fill(weight.codes.begin(), weight.codes.end(), (1 << bits) - 1);
        std::fill(weight.scales.begin(), weight.scales.end(), 1.0f);
        std::fill(weight.mins.begin(), weight.mins.end(), 0.0f);
        weight.pack();
        Activations x(weight.shape, std::vector<float>(7 * group * 2, 127.0f * sign), GetParam());
        const float expected = 127.0f * sign * ((1 << bits) - 1) * group * 2;
        for (const float y : multiply(weight, x, GetParam())) ASSERT_EQ(y, expected);
      }
    }
  }
}

TEST_P(Quantized, ARowIsTheSameInAnyCompany) {
  for (const bool gated : {false, true}) {
    for (const int bits : {4, 8}) {
      for (const int group : {16, 32, 128}) {
        const QuantizedShape shape{group * 4, 150, bits, group, ScaleType::float32, gated};
        const Weight weight(shape, made);
        const int64_t rows = 67;
        Activations x(shape, made.reals(rows * shape.in), GetParam());
        const auto together = multiply(weight, x, GetParam());
        for (int64_t at_once = 1; at_once <= 14; ++at_once) {
          std::vector<float> apart(together.size());
          for (int64_t row = 0; row < rows; row += at_once) {
            for (int64_t panel = 0; panel < shape.panels(); panel += 3) {
              quantized_linear(shape, weight.packed.data(), x.rows(), {apart.data(), shape.out},
                               row, std::min(rows, row + at_once), panel,
                               std::min(panel + 3, shape.panels()), GetParam());
            }
          }
          ASSERT_EQ(apart, together) << describe(shape) << ", " << at_once << " at once";
        }
      }
    }
  }
}

// Wide enough that the rows pass in several parts.
TEST_P(Quantized, ManyWideRows) {
  const QuantizedShape shape{16384, 33, 4, 64};
  const Weight weight(shape, made);
  Activations x(shape, made.reals(90 * shape.in), GetParam());
  const auto out = multiply(weight, x, GetParam());
  for (int64_t row = 0; row < x.count; row += 89) {
    const auto sum = product(weight, x, row, 32);
    ASSERT_NEAR(out[row * shape.out + 32], sum.value, 1e-6 * sum.magnitude);
  }
}

TEST_P(Quantized, ActivationsAreWithinHalfAStep) {
  for (const int group : {16, 32, 64, 128}) {
    const QuantizedShape shape{group * 3, 1, 4, group};
    auto x = made.reals(4 * shape.in, -20, 20);
    std::fill_n(x.begin(), shape.block(), 0.0f);
    const Activations rows(shape, x, GetParam());
    for (int64_t i = 0; i < 4 * shape.in; ++i) {
      const int64_t row = i / shape.in, k = i % shape.in;
      const float scale = rows.scales[row * shape.blocks() + k / shape.block()];
      ASSERT_NEAR(rows.value(shape, row, k), x[i], 0.5001 * scale);
    }
    EXPECT_EQ(rows.scales[0], 0.0f);
    for (int64_t i = 0; i < 4 * shape.groups(); ++i) {
      double sum = 0;
      for (int64_t k = 0; k < group; ++k) {
        sum += rows.value(shape, i / shape.groups(), i % shape.groups() * group + k);
      }
      ASSERT_NEAR(rows.sums[i], sum, 1e-4);
    }
  }
}

// A model gone wrong shows in its results.
TEST_P(Quantized, WhatIsNoNumberStaysNone) {
  const QuantizedShape shape{96, 33, 4, 32};
  const Weight weight(shape, made);
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    for (int64_t at = 0; at < shape.in; at += 5) {
      auto x = made.reals(2 * shape.in);
      x[at] = bad;
      Activations rows(shape, x, GetParam());
      const auto out = multiply(weight, rows, GetParam());
      for (int64_t i = 0; i < 2 * shape.out; ++i) {
        ASSERT_EQ(std::isfinite(out[i]), i >= shape.out) << bad << " at " << at;
      }
    }
  }
}

TEST_P(Quantized, ReadsRowsWithAStride) {
  const QuantizedShape shape{64, 1, 4, 32};
  const auto x = made.reals(3 * 100);
  Activations strided(shape, std::vector<float>(3 * 64), GetParam());
  quantize_rows(shape, x.data(), 100, strided.rows(), 0, 3, GetParam());
  for (int64_t row = 0; row < 3; ++row) {
    const Activations alone(shape, {x.begin() + row * 100, x.begin() + row * 100 + 64}, GetParam());
    EXPECT_TRUE(
        std::equal(alone.codes.begin(), alone.codes.end(), strided.codes.begin() + row * 64));
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, Quantized,
                         testing::ValuesIn(supported_isas().begin(), supported_isas().end()),
                         [](const auto& each) { return name(each.param); });

TEST(QuantizedPacking, RowsComeBack) {
  MadeValues made;
  for (const auto& shape : shapes()) {
    const Weight weight(shape, made);
    std::vector<float> row(shape.in);
    for (int64_t r = 0; r < shape.weight_rows(); ++r) {
      unpack_quantized_row(shape, weight.packed.data(), r, row.data());
      for (int64_t k = 0; k < shape.in; ++k) {
        ASSERT_NEAR(row[k], weight.value(r, k), 1e-6) << describe(shape);
      }
    }
  }
}

TEST(QuantizedPacking, RowsMayComeInAnyOrder) {
  MadeValues made;
  for (const auto& shape : shapes()) {
    const Weight weight(shape, made);
    Bytes packed(shape.packed_bytes(), std::byte{0});
    for (int64_t row = shape.weight_rows() - 1; row >= 0; --row) {
      pack_quantized_rows(shape, row, row + 1, &weight.codes[row * shape.in],
                          &weight.scales[row * shape.groups()], &weight.mins[row * shape.groups()],
                          packed.data());
    }
    ASSERT_EQ(packed, weight.packed) << describe(shape);
  }
}

TEST(QuantizedPacking, KnowsWhatFloat16Holds) {
  const std::vector<float> exact{1, -0.5f, 65504, 0x1p-24f, 0}, not_exact{1, 0.1f};
  EXPECT_TRUE(exact_in_float16(exact.data(), exact.size()));
  EXPECT_FALSE(exact_in_float16(not_exact.data(), not_exact.size()));
}

}  // namespace
}  // namespace backlot::kernels
