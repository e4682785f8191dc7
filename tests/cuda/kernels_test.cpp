// The CUDA kernels themselves, run on the CPU (emulated/cuda/launch.cuh), against formulas in
// double. Buffers end where their values do, so that AddressSanitizer sees a step outside.
#include "cuda/launch.cuh"  // the emulating one

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <random>
#include <string>

#include "cuda/elementwise.cu"
#include "cuda/group_norm.cu"
#include "cuda/layer_norm.cu"

namespace backlot::cuda {
namespace {

template <class T>
constexpr Type type_of = sizeof(T) == 4              ? Type::float32
                         : std::is_same_v<T, __half> ? Type::float16
                                                     : Type::bfloat16;

// Rounding of the type, relative to the largest value.
template <class T>
constexpr double unit = sizeof(T) == 4              ? 1e-5
                        : std::is_same_v<T, __half> ? 2e-3
                                                    : 1e-2;

// Starts at a multiple of 16 bytes, or one value behind it.
template <class T>
class Values {
 public:
  explicit Values(int64_t count, bool aligned = true, float mean = 0)
      : count_(count),
        offset_(aligned ? 0 : 1),
        memory_(static_cast<T*>(::aligned_alloc(
                    16, (static_cast<size_t>(count + offset_) * sizeof(T) + 15) / 16 * 16)),
                ::free) {
    static std::mt19937 generator(3);
    std::normal_distribution<float> normal(mean, 1);
    for (int64_t i = 0; i < count; ++i) set(i, normal(generator));
  }
  T* data() { return memory_.get() + offset_; }
  double operator[](int64_t i) const { return widen(memory_.get()[offset_ + i]); }
  void set(int64_t i, float value) { data()[i] = narrow<T>(value); }
  int64_t count() const { return count_; }

 private:
  int64_t count_;
  int offset_;
  std::unique_ptr<T, void (*)(void*)> memory_;
};

// The largest difference from what was expected, and the largest value expected.
struct Comparison {
  double difference = 0, largest = 0;
  void add(double made, double expected) {
    const double apart = std::abs(made - expected);
    if (!(apart <= difference)) difference = apart;  // NaN, too
    largest = std::max(largest, std::abs(expected));
  }
  bool within(double unit) const { return difference <= unit * largest; }
};

template <class T>
Launch launch_of(bool aligned = true, int processors = 4) {
  return {type_of<T>, aligned, processors, nullptr};
}

template <class T>
class Kernels : public ::testing::Test {};

struct TypeNames {
  template <class T>
  static std::string GetName(int) {
    return type_of<T> == Type::float32   ? "float32"
           : type_of<T> == Type::float16 ? "float16"
                                         : "bfloat16";
  }
};
using AllTypes = ::testing::Types<float, __nv_bfloat16, __half>;
TYPED_TEST_SUITE(Kernels, AllTypes, TypeNames);

enum class Shift { none, by_item, for_all };

struct GroupCase {
  int64_t batch, pixels, channels, groups;
  Shift shift = Shift::by_item;
  bool silu = true, aligned = true;
  int processors = 4;
  float mean = 5;  // far from zero, as deep in an autoencoder
};

template <class T>
void check_group_norm(const GroupCase& c) {
  Values<T> x(c.batch * c.pixels * c.channels, c.aligned, c.mean);
  Values<T> y(x.count(), c.aligned), weight(c.channels), bias(c.channels);
  Values<T> shift((c.shift == Shift::by_item ? c.batch : 1) * c.channels);
  const int64_t stride = c.shift == Shift::by_item ? c.channels : 0;
  const GroupNorm norm{.x = x.data(),
                       .shift = c.shift == Shift::none ? nullptr : shift.data(),
                       .shift_stride = stride,
                       .weight = weight.data(),
                       .bias = bias.data(),
                       .y = y.data(),
                       .batch = c.batch,
                       .pixels = c.pixels,
                       .channels = c.channels,
                       .groups = c.groups,
                       .pivot = c.pixels / 2,
                       .eps = 1e-5,
                       .silu = c.silu};
  const auto launch = launch_of<T>(c.aligned, c.processors);
  std::vector<float> workspace(group_norm_workspace(norm, launch), std::nanf(""));
  group_norm(norm, workspace.data(), launch);

  const int64_t width = c.channels / c.groups;
  const auto at = [&](int64_t item, int64_t pixel, int64_t channel) {
    return x[(item * c.pixels + pixel) * c.channels + channel] +
           (c.shift == Shift::none ? 0 : shift[item * stride + channel]);
  };
  Comparison compared;
  for (int64_t item = 0; item < c.batch; ++item) {
    for (int64_t begin = 0; begin < c.channels; begin += width) {
      const auto each = [&](auto visit) {
        for (int64_t pixel = 0; pixel < c.pixels; ++pixel)
          for (int64_t i = begin; i < begin + width; ++i) visit(pixel, i);
      };
      double mean = 0, variance = 0;
      each([&](int64_t pixel, int64_t i) { mean += at(item, pixel, i); });
      mean /= static_cast<double>(c.pixels * width);
      each([&](int64_t pixel, int64_t i) { variance += std::pow(at(item, pixel, i) - mean, 2); });
      variance /= static_cast<double>(c.pixels * width);
      each([&](int64_t pixel, int64_t i) {
        double value =
            (at(item, pixel, i) - mean) / std::sqrt(variance + 1e-5) * weight[i] + bias[i];
        if (c.silu) value /= 1 + std::exp(-value);
        compared.add(y[(item * c.pixels + pixel) * c.channels + i], value);
      });
    }
  }
  EXPECT_TRUE(compared.within(unit<T>))
      << compared.difference << " of " << compared.largest << " for " << c.batch << "x" << c.pixels
      << "x" << c.channels;
}

TYPED_TEST(Kernels, GroupNorm) {
  for (const auto shift : {Shift::none, Shift::by_item, Shift::for_all}) {
    for (const bool silu : {false, true}) {
      check_group_norm<TypeParam>({2, 64, 320, 32, shift, silu});
      check_group_norm<TypeParam>({3, 35, 12, 4, shift, silu});
    }
  }
  for (const GroupCase& c : {GroupCase{1, 33, 1280, 32},
                             {2, 1, 640, 32},
                             {1, 9, 2560, 32},
                             {2, 20, 1920, 32},
                             {1, 5, most_channels, 32},
                             {2, 64, 320, 32, Shift::by_item, true, false},
                             {1, 100, 128, 32, Shift::none, true, true, 132, 50},
                             {2, 300, 64, 32, Shift::none, true, true, 1},
                             {1, 700, 8, 2, Shift::for_all, true, true, 2, 100}}) {
    check_group_norm<TypeParam>(c);
  }
}

struct RowCase {
  int64_t width;
  bool adds = false, modulated = false, aligned = true;
};

template <class T>
void check_layer_norm(const RowCase& c) {
  constexpr int64_t rows = 6, rows_per_item = 3;
  Values<T> x(rows * c.width, c.aligned, 2), y(x.count(), c.aligned), out(x.count(), c.aligned);
  Values<T> weight(c.width), bias(c.width), scale(2 * c.width), shift(2 * c.width);
  std::vector<double> in;
  for (int64_t i = 0; i < x.count(); ++i)
    in.push_back(c.adds ? widen(narrow<T>(static_cast<float>(x[i] + y[i]))) : x[i]);
  layer_norm({.x = x.data(),
              .y = c.adds ? y.data() : nullptr,
              .weight = weight.data(),
              .bias = bias.data(),
              .scale = c.modulated ? scale.data() : nullptr,
              .shift = c.modulated ? shift.data() : nullptr,
              .rows = rows,
              .width = c.width,
              .rows_per_item = rows_per_item,
              .out = out.data(),
              .eps = 1e-5},
             launch_of<T>(c.aligned));
  Comparison compared;
  for (int64_t row = 0; row < rows; ++row) {
    const double* from = in.data() + row * c.width;
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < c.width; ++i) mean += from[i] / static_cast<double>(c.width);
    for (int64_t i = 0; i < c.width; ++i)
      variance += std::pow(from[i] - mean, 2) / static_cast<double>(c.width);
    for (int64_t i = 0; i < c.width; ++i) {
      double value = (from[i] - mean) / std::sqrt(variance + 1e-5) * weight[i] + bias[i];
      const int64_t at = row / rows_per_item * c.width + i;
      if (c.modulated) value = value * (1 + scale[at]) + shift[at];
      compared.add(out[row * c.width + i], value);
      ASSERT_EQ(x[row * c.width + i], from[i]);  // the sum is left where x was
    }
  }
  EXPECT_TRUE(compared.within(unit<T>)) << compared.difference << " for " << c.width;
}

TYPED_TEST(Kernels, LayerNorm) {
  for (const int64_t width : {7, 24, 64, 640, 768, 1024, 1280, 2048, 2560, 3072, 5120}) {
    check_layer_norm<TypeParam>({width});
    check_layer_norm<TypeParam>({width, true});
    check_layer_norm<TypeParam>({width, false, true});
  }
  check_layer_norm<TypeParam>({640, true, true, false});
}

TYPED_TEST(Kernels, Geglu) {
  for (const int64_t width : {5, 64, 320, 2560}) {
    for (const bool aligned : {true, false}) {
      Values<TypeParam> x(7 * 2 * width, aligned), y(7 * width, aligned);
      geglu(x.data(), y.data(), 7, width, launch_of<TypeParam>(aligned));
      Comparison compared;
      for (int64_t i = 0; i < y.count(); ++i) {
        const int64_t hidden = i / width * 2 * width + i % width;
        const double gate = x[hidden + width];
        compared.add(y[i], x[hidden] * gate * 0.5 * (1 + std::erf(gate / std::sqrt(2.0))));
      }
      EXPECT_TRUE(compared.within(unit<TypeParam>)) << compared.difference << " for " << width;
    }
  }
}

TYPED_TEST(Kernels, Residual) {
  for (const int64_t channels : {3, 320, 2560, 5120}) {
    for (const bool aligned : {true, false}) {
      constexpr int64_t rows = 37;
      Values<TypeParam> x(rows * channels, aligned), y(rows * channels, aligned), bias(channels);
      for (const bool biased : {true, false}) {
        std::vector<double> expected;
        for (int64_t i = 0; i < x.count(); ++i)
          expected.push_back(x[i] + (biased ? bias[i % channels] : 0) + 0.5 * y[i]);
        residual(x.data(), biased ? bias.data() : nullptr, y.data(), rows, channels, 0.5f,
                 launch_of<TypeParam>(aligned, 1));
        Comparison compared;
        for (int64_t i = 0; i < x.count(); ++i) compared.add(x[i], expected[i]);
        EXPECT_TRUE(compared.within(unit<TypeParam>)) << compared.difference;
      }
    }
  }
}

TYPED_TEST(Kernels, Guide) {
  constexpr int64_t items = 3, each = 100;
  Values<TypeParam> output(2 * items * each);
  Values<float> scales(items, true, 5), guided(items * each);
  guide(output.data(), scales.data(), guided.data(), items * each, each, launch_of<TypeParam>());
  Comparison compared;
  for (int64_t i = 0; i < items * each; ++i) {
    const double negative = output[i], positive = output[items * each + i];
    compared.add(guided[i], negative + scales[i / each] * (positive - negative));
  }
  EXPECT_TRUE(compared.within(1e-5)) << compared.difference;
}

TYPED_TEST(Kernels, ToBytesRoundsHalfToEvenAndFlagsWhatIsNotFinite) {
  for (const int64_t each : {3 * 5 * 7, 3 * 64 * 48}) {
    for (const bool aligned : {true, false}) {
      constexpr int64_t items = 3;
      Values<TypeParam> x(items * each, aligned);
      x.set(0, 0);  // 127.5
      x.set(each + 17, std::nanf(""));
      std::vector<uint8_t> bytes(static_cast<size_t>(items * each + items), 0);
      to_bytes(x.data(), bytes.data(), items, each, launch_of<TypeParam>(aligned));
      EXPECT_EQ(bytes[0], 128);
      for (int64_t i = 0; i < items * each; ++i) {
        if (i == each + 17) continue;
        const double value = std::clamp(x[i] * 0.5 + 0.5, 0.0, 1.0) * 255;
        ASSERT_LE(std::abs(bytes[i] - value), 0.5 + 1e-4) << i;
      }
      EXPECT_EQ((std::vector<uint8_t>(bytes.end() - items, bytes.end())),
                (std::vector<uint8_t>{0, 1, 0}));
    }
  }
}

}  // namespace
}  // namespace backlot::cuda
