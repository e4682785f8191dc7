#include "weights/memory.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "weights/inspect.h"

namespace backlot {
namespace {

const std::string pocket = BACKLOT_SOURCE_DIR "/models/pocket-xl";

TEST(Memory, CountsEveryParameterOnce) {
  const auto sizes = model_sizes(ModelFolder::open(pocket), std::nullopt);
  EXPECT_EQ(
      sizes.unet.all() + sizes.vae.all() + sizes.first_text_encoder + sizes.second_text_encoder,
      inspect_model(pocket).parameters());
  EXPECT_GT(sizes.unet.doubling, 0);
  EXPECT_LT(sizes.unet.doubling, sizes.unet.winograd);
  EXPECT_EQ(sizes.unet_channels, (std::vector<int64_t>{64, 64, 128}));
  EXPECT_EQ(sizes.vae_tile, 128);
  EXPECT_THROW(model_sizes(ModelFolder::open(pocket), std::nullopt, "/nowhere"), LoadError);
}

TEST(Memory, WeightsFollowThePrecision) {
  const auto sizes = model_sizes(ModelFolder::open(pocket), std::nullopt);
  const auto bytes = [&](LoadedAs as) { return weight_bytes(sizes, as).networks; };
  const auto full = bytes({.dtype = "float32"}), half = bytes({.dtype = "bfloat16"});
  EXPECT_NEAR(static_cast<double>(full), 2.0 * static_cast<double>(half), 8);
  EXPECT_GT(bytes({.dtype = "bfloat16", .own_kernels = true}), half);
  EXPECT_LT(bytes({.dtype = "float32", .quantization = Quantization::int8}), full / 2);
  EXPECT_LT(bytes({.dtype = "bfloat16", .on_gpu = true}), half);
}

TEST(Memory, PicturesTakeMoreTheLargerAndTheMoreTheyAre) {
  const auto sizes = model_sizes(ModelFolder::open(pocket), std::nullopt);
  const LoadedAs as{.dtype = "float32"};
  const auto bytes = [&](PictureShape shape, int64_t together) {
    return working_bytes(sizes, as, shape, together);
  };
  const PictureShape one{.width = 512, .height = 512};
  EXPECT_GT(bytes({.width = 1024, .height = 512}, 1), bytes(one, 1));
  EXPECT_GT(bytes(one, 64), bytes(one, 8));
  EXPECT_GT(bytes({.width = 512, .height = 512, .guidance = true}, 64), bytes(one, 64));
  EXPECT_LT(bytes({.width = 512, .height = 512, .tiled = true}, 1), bytes(one, 1));
  // Large pictures are decoded one after the other.
  const PictureShape large{.width = 2048, .height = 2048};
  EXPECT_LT(bytes(large, 2), bytes(large, 1) * 3 / 2);
}

}  // namespace
}  // namespace backlot
