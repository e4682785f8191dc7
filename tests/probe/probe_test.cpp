#include "probe/probe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/error.h"

namespace backlot {
namespace {

struct Silent : Progress {
  void stage(std::string_view) override {}
  void step(int64_t done, int64_t total) override {
    steps = done;
    of = total;
  }
  bool stop_requested() const override { return steps >= limit; }
  int64_t steps = 0, of = 0, limit = 1000000;
};

KernelRequest quick() {
  return {.architecture = BACKLOT_SOURCE_DIR "/models/pocket-xl",
          .width = 64,
          .height = 64,
          .repeats = 2,
          .seconds_each = 0};
}

std::vector<KernelFigure> figures(const KernelRequest& request, Progress& progress) {
  std::vector<KernelFigure> all;
  measure_kernels(
      request, at::kCPU, [&](const KernelFigure& figure) { all.push_back(figure); }, progress);
  return all;
}

TEST(Ceilings, AreAboveZero) {
  const auto ceilings = measure_ceilings(Precision::float32, at::kCPU);
  EXPECT_GT(ceilings.flops_per_second, 1e8);
  EXPECT_GT(ceilings.bytes_per_second, 1e8);
  EXPECT_EQ(ceilings.dtype, "float32");
}

TEST(Kernels, EveryOneOfASmallModelIsMeasured) {
  for (const auto precision : {Precision::float32, Precision::bfloat16}) {
    auto request = quick();
    request.precision = precision;
    Silent progress;
    const auto all = figures(request, progress);
    EXPECT_GT(all.size(), 60u);
    EXPECT_EQ(progress.steps, std::ssize(all));
    EXPECT_EQ(progress.of, std::ssize(all));
    for (const auto& figure : all) {
      ASSERT_EQ(figure.seconds.size(), 2u) << figure.name;
      for (const double seconds : figure.seconds) {
        EXPECT_GT(seconds, 0) << figure.name;
        EXPECT_TRUE(std::isfinite(seconds)) << figure.name;
      }
      EXPECT_GT(figure.bytes, 0) << figure.name;
    }
  }
}

// Those that the other architectures have besides.
TEST(Kernels, OfArchitecturesWithoutAPipelineRun) {
  for (const auto& [architecture, name] : {std::pair{"wan-1.3b", "text_encoder/biased_attention"},
                                           {"wan-1.3b", "transformer.condition/rms_norm"},
                                           {"qwen3-vl-4b", "language.decode/grouped_attention"},
                                           {"qwen3-vl-4b", "language.prefill/grouped_attention"},
                                           {"qwen3-vl-4b", "language.decode/swiglu"},
                                           {"qwen3-vl-4b", "vision/gelu_tanh"}}) {
    auto request = quick();
    request.architecture = architecture;
    request.filters = {name};
    request.repeats = 1;
    Silent progress;
    EXPECT_GE(figures(request, progress).size(), 1u) << name;
  }
}

TEST(Kernels, FiltersKeepWhatHoldsOneOfThem) {
  auto request = quick();
  request.filters = {"vae.decoder/conv3x3", "unet/linear_geglu"};
  Silent progress;
  const auto all = figures(request, progress);
  const auto is_geglu = [](const auto& each) { return each.name == "unet/linear_geglu"; };
  EXPECT_TRUE(std::ranges::any_of(all, is_geglu));
  EXPECT_FALSE(std::ranges::all_of(all, is_geglu));
  for (const auto& figure : all)
    EXPECT_TRUE(is_geglu(figure) || figure.name.starts_with("vae.decoder/conv3x3")) << figure.name;
  request.filters = {"nothing"};
  EXPECT_THROW(figures(request, progress), UsageError);
}

TEST(Kernels, RepeatsLastAsLongAsAsked) {
  auto request = quick();
  request.filters = {"text_encoder/add"};
  request.repeats = 1;
  request.seconds_each = 0.05;
  Silent progress;
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(figures(request, progress).size(), 1u);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(50));
}

TEST(Kernels, StopBetweenTwo) {
  Silent progress;
  progress.limit = 3;
  std::vector<KernelFigure> all;
  EXPECT_THROW(
      measure_kernels(
          quick(), at::kCPU, [&](const KernelFigure& figure) { all.push_back(figure); }, progress),
      Interrupted);
  EXPECT_EQ(all.size(), 3u);
}

TEST(Kernels, Float16LeavesADecoderThatOverflowsInFloat32) {
  auto request = quick();
  request.architecture = "sdxl";  // the small model does not overflow
  request.filters = {"vae.decoder/add"};
  request.repeats = 1;
  Silent progress;
  request.precision = Precision::float32;
  const auto wide = figures(request, progress);
  request.precision = Precision::float16;
  EXPECT_EQ(figures(request, progress)[0].bytes, wide[0].bytes);
  request.precision = Precision::bfloat16;
  EXPECT_EQ(figures(request, progress)[0].bytes, wide[0].bytes / 2);
}

}  // namespace
}  // namespace backlot
