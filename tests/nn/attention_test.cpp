// Our own attention against ATen's in float64, both from the same bfloat16 values.
#include "nn/attention.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

namespace backlot {
namespace {

struct Case {
  int64_t batch, heads, queries, keys, width;
};

class AttentionTest : public testing::TestWithParam<Case> {
 protected:
  Tensor random(at::IntArrayRef shape, double scale) {
    return (at::randn(shape, generator_, at::kFloat) * scale).to(at::kBFloat16);
  }

  static Tensor reference(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads) {
    return attention(q.to(at::kDouble), k.to(at::kDouble), v.to(at::kDouble), heads);
  }

  static void expect_close(const Tensor& made, const Tensor& wanted) {
    ASSERT_EQ(made.sizes(), wanted.sizes());
    const auto error = made.to(at::kDouble) - wanted;
    EXPECT_LT((error.norm() / wanted.norm()).item<double>(), 0.006);
  }

  at::Generator generator_ = at::detail::createCPUGenerator(11);
};

TEST_P(AttentionTest, AttendsAsATenDoes) {
  const auto [batch, heads, queries, keys, width] = GetParam();
  const auto q = random({batch, queries, heads * width}, 1);
  const auto k = random({batch, keys, heads * width}, 1);
  const auto v = random({batch, keys, heads * width}, 1);
  expect_close(attention(q, k, v, heads), reference(q, k, v, heads));
}

TEST_P(AttentionTest, TakesPartsOfOneTensor) {
  const auto [batch, heads, queries, keys, width] = GetParam();
  const auto parts = random({batch, queries, 3 * heads * width}, 1).chunk(3, 2);
  expect_close(attention(parts[0], parts[1], parts[2], heads),
               reference(parts[0], parts[1], parts[2], heads));
}

// Scores far apart: later blocks of keys outweigh earlier ones by all that float32 can hold.
TEST_P(AttentionTest, BearsLargeScores) {
  const auto [batch, heads, queries, keys, width] = GetParam();
  const auto q = random({batch, queries, heads * width}, 8);
  const auto growth = at::linspace(1, 8, keys, at::kFloat).view({1, keys, 1}).to(at::kBFloat16);
  const auto k = random({batch, keys, heads * width}, 1) * growth;
  const auto v = random({batch, keys, heads * width}, 1);
  const auto made = attention(q, k, v, heads);
  EXPECT_TRUE(at::isfinite(made).all().item<bool>());
  expect_close(made, reference(q, k, v, heads));
}

// One token, odd counts, 77 words of text, several blocks of keys, wide and narrow heads.
INSTANTIATE_TEST_SUITE_P(Shapes, AttentionTest,
                         testing::Values(Case{1, 1, 1, 1, 16}, Case{2, 3, 5, 7, 32},
                                         Case{2, 2, 64, 77, 64}, Case{1, 2, 49, 513, 48},
                                         Case{1, 1, 100, 1100, 512}, Case{1, 1, 97, 2048, 96}));

}  // namespace
}  // namespace backlot
