// Causal layers that are given a few frames at a time against ATen's convolutions over all of them.
#include "nn/frames.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "kernels/bfloat16.h"

namespace backlot {
namespace {

class FramesTest : public testing::TestWithParam<at::ScalarType> {
 protected:
  // Tensors as layers made with this binding have them.
  Tensor weight(const std::string& name, at::IntArrayRef shape) const {
    return random_.make(name, shape, at::TensorOptions(GetParam())).to(at::kFloat);
  }
  Weights weights() { return binding_.root(); }
  Tensor values(at::IntArrayRef shape) {
    at::manual_seed(13);
    return at::randn(shape).to(GetParam());
  }

  void expect_close(const Tensor& made, const Tensor& wanted) const {
    ASSERT_EQ(made.sizes(), wanted.sizes());
    EXPECT_EQ(made.scalar_type(), GetParam());
    // Winograd's own rounding in bfloat16 is 0.4 % of the values.
    const double bound = GetParam() == at::kFloat ? 1e-6 : 0.006;
    const auto error = (made.to(at::kFloat) - wanted).norm() / wanted.norm();
    EXPECT_LT(error.item<double>(), bound);
  }

  RandomWeights random_{"frames"};
  Binding binding_{random_, GetParam(), at::kCPU};
};

Tensor maps_first(const Tensor& frames) {
  return frames.to(at::kFloat).permute({0, 4, 1, 2, 3}).contiguous();
}
Tensor maps_last(const Tensor& x) { return x.permute({0, 2, 3, 4, 1}); }

// With zeros for two frames before the first.
Tensor causal(const Tensor& frames, const Tensor& weight, const Tensor& bias, int64_t around) {
  return maps_last(at::conv3d(at::constant_pad_nd(maps_first(frames), {0, 0, 0, 0, 2, 0}), weight,
                              bias, 1, at::IntArrayRef({0, around, around})));
}

// What a layer makes of a clip cut into pieces, one after the other.
template <class Layer>
Tensor in_pieces(const Tensor& clip, const std::vector<int64_t>& pieces, Layer layer) {
  std::vector<Tensor> out;
  Tensor slot;
  int64_t at = 0;
  for (const auto count : pieces) {
    out.push_back(layer(after_past(clip.narrow(1, at, count), slot), at, count));
    at += count;
  }
  EXPECT_EQ(slot.size(1), 2);
  EXPECT_EQ(slot.storage().nbytes(), slot.numel() * slot.element_size());
  return at::cat(out, 1);
}

TEST_P(FramesTest, CausalConvolutionLooksTwoFramesBack) {
  struct Case {
    int64_t in, out;
  };
  // With our own kernels, with outputs filled up for them, and without.
  for (const auto [in, out] : {Case{32, 48}, Case{32, 3}, Case{6, 10}}) {
    const CausalConv3d conv(weights() / "conv", in, out);
    const auto clip = values({2, 6, 7, 9, in}), residual = values({2, 6, 7, 9, out});
    const auto wanted =
        causal(clip, weight("conv.weight", {out, in, 3, 3, 3}), weight("conv.bias", {out}), 1);
    expect_close(
        in_pieces(clip, {1, 4, 1}, [&](const Tensor& x, int64_t, int64_t) { return conv(x); }),
        wanted);
    expect_close(in_pieces(clip, {3, 1, 2},
                           [&](const Tensor& x, int64_t at, int64_t count) {
                             const auto added = residual.narrow(1, at, count);
                             return conv(x, &added);
                           }),
                 wanted + residual.to(at::kFloat));
  }
}

TEST_P(FramesTest, TimeConvolutionLooksTwoFramesBackAndMaySkip) {
  const TimeConv conv(weights() / "time", 16, 32), half(weights() / "time", 16, 32, 2);
  const auto clip = values({2, 6, 4, 5, 16});
  const auto wanted =
      causal(clip, weight("time.weight", {32, 16, 3, 1, 1}), weight("time.bias", {32}), 0);
  expect_close(
      in_pieces(clip, {1, 4, 1}, [&](const Tensor& x, int64_t, int64_t) { return conv(x); }),
      wanted);
  expect_close(in_pieces(clip, {2, 4}, [&](const Tensor& x, int64_t, int64_t) { return half(x); }),
               wanted.slice(1, 0, 6, 2));
}

TEST_P(FramesTest, NormScalesPixelsToOneLength) {
  const PixelNorm norm(weights() / "norm", 20, 3);
  const auto clip = values({2, 3, 4, 5, 20});
  const auto x = clip.to(at::kFloat);
  const auto wanted = x / x.norm(2, {-1}, true) * std::sqrt(20.0);
  expect_close(norm(clip), wanted);
  Tensor slot, other;
  expect_close(norm.silu_after_past(clip, slot).narrow(1, 2, 3), at::silu(wanted));
  // The next frames are after those.
  const auto next = norm.silu_after_past(clip.narrow(1, 0, 1), slot);
  expect_close(next.narrow(1, 0, 2), at::silu(wanted.narrow(1, 1, 2)));
  EXPECT_TRUE(norm.silu_after_past(clip, other).narrow(1, 0, 2).eq(0).all().item<bool>());
  EXPECT_TRUE(norm(at::zeros_like(clip)).eq(0).all().item<bool>());
}

TEST_P(FramesTest, SizesChangeFrameByFrame) {
  const UpsampleFrames up(weights() / "up", 32, 16);
  const DownsampleFrames down(weights() / "down", 32);
  const auto clip = values({2, 3, 4, 6, 32});
  const auto maps = to_maps(clip).to(at::kFloat);
  const auto back = [](const Tensor& x) { return to_frames(x, 2); };
  expect_close(up(clip), back(at::conv2d(at::upsample_nearest2d(maps, {8, 12}),
                                         weight("up.weight", {16, 32, 3, 3}),
                                         weight("up.bias", {16}), 1, 1)));
  expect_close(down(clip), back(at::conv2d(at::constant_pad_nd(maps, {0, 1, 0, 1}),
                                           weight("down.weight", {32, 32, 3, 3}),
                                           weight("down.bias", {32}), 2)));
}

INSTANTIATE_TEST_SUITE_P(Dtypes, FramesTest, testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& info) { return std::string(c10::toString(info.param)); });

}  // namespace
}  // namespace backlot
