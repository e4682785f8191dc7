// What transformers do between products, in one pass, against ATen's operators in float64.
#include "nn/modulation.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

namespace backlot {
namespace {

class ModulationTest : public testing::TestWithParam<at::ScalarType> {
 protected:
  Tensor random(at::IntArrayRef shape) { return at::randn(shape, generator_, at::kFloat); }
  Tensor values(at::IntArrayRef shape) { return random(shape).to(GetParam()); }

  // All that may differ is the last rounding.
  void expect_close(const Tensor& made, const Tensor& wanted) {
    ASSERT_EQ(made.sizes(), wanted.sizes());
    ASSERT_EQ(made.scalar_type(), GetParam());
    const double bound = GetParam() == at::kFloat ? 2e-6 : GetParam() == at::kHalf ? 1e-3 : 4.1e-3;
    const auto error = (made.to(at::kDouble) - wanted).abs();
    EXPECT_TRUE((error <= bound * (wanted.abs() + 1)).all().item<bool>())
        << error.max().item<double>();
  }

  at::Generator generator_ = at::detail::createCPUGenerator(11);
};

Tensor wide(const Tensor& x) { return x.to(at::kDouble); }

Tensor normed(const Tensor& x) { return at::layer_norm(wide(x), {x.size(-1)}, {}, {}, 1e-6); }

// Widths with and without a rest beyond whole registers; rows of one item and of two in one thread.
const std::vector<std::vector<int64_t>> shapes = {{2, 37, 96}, {3, 5, 50}, {1, 1, 1536}};

TEST_P(ModulationTest, NormalisesAndModulates) {
  for (const auto& shape : shapes) {
    auto x = values(shape) + 3;
    const auto factor = random({shape[0], shape[2]}), shift = random({shape[0], shape[2]});
    const auto before = x.clone();
    expect_close(modulated_norm(x, factor, shift, 1e-6),
                 normed(x) * factor.unsqueeze(1) + shift.unsqueeze(1));
    EXPECT_TRUE(x.equal(before));
    const auto same = random({1, shape[2]});
    expect_close(modulated_norm(x, same, same, 1e-6), normed(x) * same + same);
  }
}

TEST_P(ModulationTest, AddsAGatedResidualFirst) {
  for (const auto& shape : shapes) {
    const auto factor = random({shape[0], shape[2]}), shift = random({shape[0], shape[2]});
    for (const bool gated : {true, false}) {
      GatedResidual residual;
      residual.y = values(shape);
      if (gated) residual.gate = random({shape[0], shape[2]});
      auto x = values(shape);
      const auto sum =
          wide(x) + wide(residual.y) * (gated ? wide(*residual.gate).unsqueeze(1) : at::ones({1}));
      auto other = x.clone();
      const auto y = modulated_norm(x, factor, shift, 1e-6, &residual);
      expect_close(x, sum);
      expect_close(y, normed(x) * factor.unsqueeze(1) + shift.unsqueeze(1));
      add_gated(other, residual);
      EXPECT_TRUE(other.equal(x));
    }
  }
}

TEST_P(ModulationTest, NormalisesAcrossHeadsAndRotatesPairs) {
  for (const int64_t head_dim : {8, 48}) {
    const auto rows = values({2, 19, 3 * 96});
    const auto x = rows.narrow(2, 96, 96);
    const auto weight = random({96}).to(GetParam());
    const auto angles = random({19, head_dim / 2});
    const auto twice = [](const Tensor& a, const Tensor& b) {
      return at::stack({a, b}, 2).flatten(1);
    };
    const PairRotation rotation{.cos = twice(angles.cos(), angles.cos()),
                                .sin = twice(-angles.sin(), angles.sin())};
    const auto scaled = wide(x) * (wide(x).square().mean(-1, true) + 1e-6).rsqrt() * wide(weight);
    const auto pairs = at::view_as_complex(
        scaled.unflatten(2, at::IntArrayRef({-1, head_dim / 2, 2})).contiguous());
    const auto turned =
        pairs * at::polar(at::ones({19, 1, head_dim / 2}, at::kDouble), wide(angles).unsqueeze(1));
    const auto around = rows.clone();
    expect_close(rms_norm_rotated(x.clone(), weight, 1e-6), scaled);
    expect_close(rms_norm_rotated(x, weight, 1e-6, &rotation), at::view_as_real(turned).flatten(2));
    // What lies beside the part stays.
    EXPECT_TRUE(rows.narrow(2, 0, 96).equal(around.narrow(2, 0, 96)));
    EXPECT_TRUE(rows.narrow(2, 192, 96).equal(around.narrow(2, 192, 96)));
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, ModulationTest,
                         testing::Values(at::kFloat, at::kBFloat16, at::kHalf),
                         [](const auto& info) { return std::string(c10::toString(info.param)); });

}  // namespace
}  // namespace backlot
