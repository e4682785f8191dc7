// Previews: pictures that resemble what comes out, and change nothing of it.
#include "pipelines/preview.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <map>

#include "media/preview.h"
#include "pipelines/oracle_case.h"
#include "pipelines/wan.h"

namespace backlot {
namespace {

const std::string pocket = BACKLOT_SOURCE_DIR "/models/pocket-xl";

struct Looking : Silent {
  explicit Looking(bool wanted) : wanted(wanted) {}
  void denoising(std::span<const size_t> items) override {
    groups.emplace_back(items.begin(), items.end());
  }
  bool wants_previews(int64_t done, int64_t) override {
    asked.push_back(done);
    return wanted;
  }
  void preview(size_t item, const Picture& picture) override { seen[item].push_back(picture); }
  bool wanted;
  std::vector<std::vector<size_t>> groups;
  std::vector<int64_t> asked;
  std::map<size_t, std::vector<Picture>> seen;
};

std::vector<ImageRequest> two(const std::string& scheduler = "euler") {
  const ImageRequest apple{.prompt = "a red apple",
                           .seed = 7,
                           .steps = 6,
                           .guidance_scale = 3.5,
                           .width = 64,
                           .height = 128,
                           .scheduler = scheduler};
  auto tree = apple;
  tree.prompt = "a green tree";
  tree.seed = 8;
  return {apple, tree};
}

// Of all channels of all pixels.
double correlation(const Picture& a, const Picture& b) {
  EXPECT_EQ(a.rgb.size(), b.rgb.size());
  const auto numbers = [](const Picture& picture) {
    std::vector<double> values(picture.rgb.begin(), picture.rgb.end());
    return at::tensor(values, at::kDouble);
  };
  return at::corrcoef(at::stack({numbers(a), numbers(b)}))[0][1].item<double>();
}

TEST(Previews, ResembleThePicture) {
  const auto pipeline = load_for_test(pocket);
  for (const char* scheduler : {"euler", "ddim", "dpmpp_2m_karras", "heun", "unipc"}) {
    const auto batch = two(scheduler);
    Looking looking(true);
    const auto results = pipeline->generate(batch, looking);
    for (size_t i = 0; i < batch.size(); ++i) {
      const auto& previews = looking.seen[i];
      ASSERT_EQ(previews.size(), looking.asked.size());
      const Picture small = shrink(results[i].picture, 16);
      ASSERT_EQ(previews[0].width, 8);
      ASSERT_EQ(previews[0].height, 16);
      // The first already shows where things are; the last one, what they are.
      EXPECT_GT(correlation(previews.front(), small), 0.5) << scheduler << i;
      EXPECT_GT(correlation(previews.back(), small), 0.9) << scheduler << i;
    }
  }
}

// The pixels [x, x + picture.height) of every row.
Picture square_at(const Picture& picture, int64_t x) {
  Picture out{.width = picture.height, .height = picture.height};
  for (int64_t y = 0; y < out.height; ++y) {
    const auto row = picture.rgb.begin() + (y * picture.width + x) * 3;
    out.rgb.insert(out.rgb.end(), row, row + out.width * 3);
  }
  return out;
}

TEST(Previews, ResembleTheClip) {
  Silent silent;
  const auto pipeline =
      load_wan({.model = BACKLOT_SOURCE_DIR "/models/pocket-wan"}, at::kCPU, silent);
  VideoRequest request;
  request.prompt = "a red apple moving right on a blue background";
  request.steps = 8;
  request.guidance_scale = 4;
  request.width = request.height = 64;
  request.frames = 17;
  Looking looking(true);
  std::vector<Picture> frames;
  pipeline->generate(
      request, [&](Picture frame) { frames.push_back(std::move(frame)); }, {}, looking);
  ASSERT_EQ(frames.size(), 17u);
  const auto& previews = looking.seen[0];
  ASSERT_EQ(previews.size(), 8u);
  // The first, the middle and the last of five latent frames.
  const size_t shown[] = {0, 8, 16};
  for (int64_t i = 0; i < 3; ++i) {
    const Picture small = shrink(frames[shown[i]], 8);
    EXPECT_GT(correlation(square_at(previews.front(), 8 * i), small), 0.5) << i;
    EXPECT_GT(correlation(square_at(previews.back(), 8 * i), small), 0.7) << i;
  }
}

TEST(Previews, ChangeNoResult) {
  const auto pipeline = load_for_test(pocket);
  const auto batch = two("euler_ancestral");
  Silent silent;
  Looking looking(true), refusing(false);
  const auto before = pipeline->generate(batch, silent);
  const auto with = pipeline->generate(batch, looking);
  const auto without = pipeline->generate(batch, refusing);
  EXPECT_FALSE(looking.seen.empty());
  EXPECT_TRUE(refusing.seen.empty());
  for (size_t i = 0; i < batch.size(); ++i) {
    EXPECT_EQ(with[i].picture.rgb, before[i].picture.rgb);
    EXPECT_EQ(without[i].picture.rgb, before[i].picture.rgb);
  }
}

TEST(Previews, AreOfTheItemsThatStepsAreOf) {
  const auto pipeline = load_for_test(oracles() + "/sdxl-base/model");
  std::string text = "a red fox";
  for (int i = 0; i < 30; ++i) text += ", jumping over a frozen river";
  std::vector<ImageRequest> batch(
      3, {.prompt = "a fox", .steps = 2, .width = 64, .height = 48, .chunk_long_prompts = true});
  batch[1].prompt = text;
  Looking looking(true);
  pipeline->generate(batch, looking);
  EXPECT_EQ(looking.groups, (std::vector<std::vector<size_t>>{{0, 2}, {1}}));
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(looking.seen[i].size(), 2u);
}

TEST(Previews, WithoutAFitThereAreNone) {
  EXPECT_TRUE(PreviewProjection()(at::zeros({1, 4, 2, 2})).empty());
}

}  // namespace
}  // namespace backlot
