#include "weights/random_weights.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>

#include "weights/weights.h"

namespace backlot {
namespace {

const auto single = at::TensorOptions().dtype(at::kFloat);

TEST(RandomWeights, NormsStartAsIdentityEmbeddingsAndLayersWithTheirSpread) {
  const RandomWeights random("unet");
  EXPECT_TRUE(random.make("down.0.norm1.weight", {32}, single).equal(at::ones({32})));
  EXPECT_TRUE(random.make("conv_norm_out.bias", {32}, single).equal(at::zeros({32})));
  const auto linear = random.make("to_q.weight", {256, 400}, single);
  EXPECT_LT(linear.abs().max().item<double>(), 1 / 20.0);
  EXPECT_NEAR(linear.std().item<double>(), 1 / 20.0 / std::sqrt(3), 1e-3);
  EXPECT_NEAR(linear.mean().item<double>(), 0, 1e-3);
  const auto conv = random.make("conv.weight", {64, 16, 5, 5}, single);
  EXPECT_NEAR(conv.std().item<double>(), 1 / 20.0 / std::sqrt(3), 1e-3);
  const auto words = random.make("embeddings.token_embedding.weight", {1000, 64}, single);
  EXPECT_NEAR(words.std().item<double>(), 0.02, 1e-3);
}

TEST(RandomWeights, DependOnPlaceAndNameAlone) {
  const std::vector<int64_t> shape = {300, 301};  // ends inside a block
  const auto values = RandomWeights("a").make("x.weight", shape, single);
  EXPECT_TRUE(values.equal(RandomWeights("a").make("x.weight", shape, single)));
  EXPECT_FALSE(values.equal(RandomWeights("b").make("x.weight", shape, single)));
  EXPECT_FALSE(values.equal(RandomWeights("a").make("y.weight", shape, single)));
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  EXPECT_TRUE(values.equal(RandomWeights("a").make("x.weight", shape, single)));
  at::set_num_threads(threads);
}

TEST(RandomWeights, NarrowDtypesAreTheWideOnesRounded) {
  const RandomWeights random("unet");
  const auto wide = random.make("x.weight", {100, 100}, single);
  for (const auto dtype : {at::kBFloat16, at::kHalf}) {
    const auto narrow = random.make("x.weight", {100, 100}, single.dtype(dtype));
    EXPECT_EQ(narrow.scalar_type(), dtype);
    EXPECT_TRUE(narrow.equal(wide.to(dtype)));
  }
}

TEST(RandomWeights, DoNotRepeatWithinATensor) {
  const auto values = RandomWeights("unet").make("x.weight", {8, 4096}, single);
  for (int64_t i = 1; i < 8; ++i) EXPECT_FALSE(values[0].equal(values[i])) << i;
  // Neighbours have nothing to do with each other.
  const auto flat = values.flatten();
  const auto a = flat.narrow(0, 0, flat.size(0) - 1), b = flat.narrow(0, 1, flat.size(0) - 1);
  EXPECT_LT(std::abs((a * b).mean().item<double>()), 0.02 * (a * a).mean().item<double>());
}

TEST(RandomWeights, BindAnyNetwork) {
  Binding binding(RandomWeights("unet"), at::kBFloat16, at::kCPU);
  const auto weights = binding.root() / "blocks" / 3;
  EXPECT_FALSE(weights.has("weight"));
  EXPECT_EQ(weights("weight", {4, 5}).sizes(), at::IntArrayRef({4, 5}));
  binding.finish();
}

}  // namespace
}  // namespace backlot
