// Each CUDA kernel against the composition of ATen operators, computed in float64 on the CPU.
#include "nn/fused.h"

#include <limits>

#include "cuda/with_gpu.h"

namespace backlot {
namespace {

using at::Tensor;

constexpr at::ScalarType dtypes[] = {at::kFloat, at::kBFloat16, at::kHalf};

Tensor exact(const Tensor& x) { return x.to(at::kCPU).to(at::kDouble); }

class CudaOperators : public WithGpu {
 protected:
  Tensor random(at::IntArrayRef shape, at::ScalarType dtype, double mean = 0) const {
    return (at::randn(shape) + mean).to(gpu, dtype);
  }
  Tensor map(at::IntArrayRef shape, at::ScalarType dtype, double mean = 0) const {
    return random(shape, dtype, mean).contiguous(at::MemoryFormat::ChannelsLast);
  }
  void expect_near(const Tensor& made, const Tensor& expected, at::ScalarType dtype) const {
    ASSERT_TRUE(made.is_cuda());
    ASSERT_EQ(made.sizes(), expected.sizes());
    const double unit = dtype == at::kFloat ? 1e-5 : dtype == at::kHalf ? 2e-3 : 1e-2;
    EXPECT_LE((exact(made) - expected).abs().max().item<double>(),
              unit * expected.abs().max().item<double>())
        << dtype << " " << made.sizes();
  }
};

TEST_F(CudaOperators, GroupNorm) {
  struct Case {
    std::vector<int64_t> shape;
    int64_t groups;
  };
  // SDXL's, an autoencoder's, and shapes that no vector load fits.
  const std::vector<Case> cases = {{{2, 320, 64, 64}, 32},  {{1, 1280, 16, 16}, 32},
                                   {{1, 2560, 32, 32}, 32}, {{1, 128, 256, 192}, 32},
                                   {{3, 12, 5, 7}, 4},      {{2, 640, 1, 1}, 32},
                                   {{5, 1920, 9, 11}, 32},  {{1, 6144, 3, 3}, 32}};
  for (const auto dtype : dtypes) {
    for (const auto& [shape, groups] : cases) {
      // A mean far from zero, as deep in an autoencoder.
      const auto x = map(shape, dtype, 5);
      const int64_t channels = shape[1];
      const auto weight = random({channels}, dtype), bias = random({channels}, dtype);
      const auto shift = random({shape[0], channels}, dtype);
      for (const auto& by : {std::optional<Tensor>(), std::optional<Tensor>(shift),
                             std::optional<Tensor>(shift.narrow(0, 0, 1))}) {
        const auto on_cpu = by ? std::optional<Tensor>(exact(*by)) : std::nullopt;
        for (const auto activation : {fused::Activation::none, fused::Activation::silu}) {
          const auto made = fused::group_norm(x, by, groups, weight, bias, 1e-5, activation);
          expect_near(made,
                      fused::group_norm(exact(x), on_cpu, groups, exact(weight), exact(bias), 1e-5,
                                        activation),
                      dtype);
          EXPECT_TRUE(made.is_contiguous(at::MemoryFormat::ChannelsLast));
          EXPECT_TRUE(fused::group_norm(x, by, groups, weight, bias, 1e-5, activation).equal(made));
        }
      }
    }
  }
}

TEST_F(CudaOperators, LayerNorm) {
  for (const auto dtype : dtypes) {
    for (const int64_t width : {7, 24, 640, 768, 1024, 1280, 2048, 3072, 5120}) {
      const auto x = random({2, 77, width}, dtype, 2);
      const auto weight = random({width}, dtype), bias = random({width}, dtype);
      const auto scale = random({2, width}, dtype), shift = random({2, width}, dtype);
      expect_near(fused::layer_norm(x, weight, bias, 1e-5),
                  fused::layer_norm(exact(x), exact(weight), exact(bias), 1e-5), dtype);
      expect_near(
          fused::layer_norm(x, weight, bias, 1e-5, scale, shift),
          fused::layer_norm(exact(x), exact(weight), exact(bias), 1e-5, exact(scale), exact(shift)),
          dtype);
      const auto y = random({2, 77, width}, dtype);
      const auto sum = x + y, changed = x.clone();
      const auto out = fused::add_layer_norm_(changed, y, weight, bias, 1e-5);
      EXPECT_TRUE(changed.equal(sum)) << dtype << " " << width;
      expect_near(out, fused::layer_norm(exact(sum), exact(weight), exact(bias), 1e-5), dtype);
    }
  }
}

TEST_F(CudaOperators, Geglu) {
  for (const auto dtype : dtypes) {
    for (const int64_t width : {5, 2560, 5120}) {
      const auto x = random({2, 33, 2 * width}, dtype);
      expect_near(fused::geglu(x), fused::geglu(exact(x)), dtype);
    }
  }
}

TEST_F(CudaOperators, Residual) {
  for (const auto dtype : dtypes) {
    for (const int64_t channels : {3, 320, 2560}) {
      auto x = map({2, channels, 9, 10}, dtype);
      const auto y = map({2, channels, 9, 10}, dtype);
      if (channels == 3) x = x.contiguous();  // whatever the memory
      const auto bias = random({channels}, dtype);
      for (const auto& by : {std::optional<Tensor>(), std::optional<Tensor>(bias)}) {
        auto expected = exact(x);
        fused::residual_(expected, by ? std::optional<Tensor>(exact(*by)) : std::nullopt, exact(y),
                         0.5);
        const auto changed = x.clone();
        fused::residual_(changed, by, y, 0.5);
        expect_near(changed, expected, dtype);
      }
    }
  }
}

TEST_F(CudaOperators, Guide) {
  const auto scale = at::tensor({1.0f, 7.5f, 3.0f}).view({3, 1, 1, 1});
  for (const auto dtype : dtypes) {
    for (const auto& output : {map({6, 4, 16, 24}, dtype), random({6, 4, 5, 3}, dtype)}) {
      expect_near(fused::guide(output, scale.to(gpu)), fused::guide(exact(output), scale), dtype);
    }
  }
}

TEST_F(CudaOperators, ToBytesIsTheCpusToTheByte) {
  for (const auto dtype : dtypes) {
    for (const auto& shape : std::vector<std::vector<int64_t>>{{3, 3, 64, 48}, {2, 3, 5, 7}}) {
      auto x = map(shape, dtype);
      EXPECT_TRUE(fused::to_bytes(x).to(at::kCPU).equal(fused::to_bytes(x.to(at::kCPU))));
      x[1][2][3][4] = std::numeric_limits<double>::quiet_NaN();
      const auto bytes = fused::to_bytes(x).to(at::kCPU);
      const auto flags = bytes.narrow(0, x.numel(), shape[0]);
      EXPECT_EQ(flags.sum().item<int>(), 1);
      EXPECT_EQ(flags[1].item<int>(), 1);
    }
  }
}

}  // namespace
}  // namespace backlot
