// What users rely on in the pipeline besides the numbers of single pictures.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "pipelines/oracle_case.h"
#include "support/sharded_model.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

const std::string tiny = "/sdxl-base/model";

ImageRequest small(const std::string& prompt, uint64_t seed) {
  return {.prompt = prompt, .seed = seed, .steps = 3, .width = 64, .height = 48};
}

int largest_difference(const Picture& a, const Picture& b) {
  EXPECT_EQ(a.rgb.size(), b.rgb.size());
  int largest = 0;
  for (size_t i = 0; i < a.rgb.size(); ++i) {
    largest = std::max(largest, std::abs(int(a.rgb[i]) - int(b.rgb[i])));
  }
  return largest;
}

double psnr(const Picture& a, const Picture& b) {
  EXPECT_EQ(a.rgb.size(), b.rgb.size());
  double sum = 0;
  for (size_t i = 0; i < a.rgb.size(); ++i) sum += std::pow(int(a.rgb[i]) - int(b.rgb[i]), 2);
  return 10 * std::log10(255.0 * 255.0 * static_cast<double>(a.rgb.size()) / sum);
}

// Latents after the last step, of each item of the batch in the order of the batch.
at::Tensor last_latents(ImagePipeline& pipeline, std::span<const ImageRequest> batch) {
  at::Tensor last;
  dynamic_cast<SdxlPipeline&>(pipeline).observe_latents(
      [&](int64_t, const at::Tensor& latents) { last = latents; });
  Silent silent;
  pipeline.generate(batch, silent);
  return last;
}

TEST(Sdxl, ShardsGiveTheSamePicture) {
  const TemporaryFolder folder;
  write_sharded_sdxl(folder / "sharded");
  const auto request = small("a red fox", 1);
  const auto made = [&](const std::string& model) {
    return last_latents(*load_for_test(model), {&request, 1});
  };
  EXPECT_TRUE(made(folder / "sharded").equal(made(oracles() + tiny)));
}

TEST(Sdxl, AnItemDoesNotDependOnItsBatch) {
  const auto pipeline = load_for_test(oracles() + tiny);
  std::vector<ImageRequest> batch = {small("a red fox", 1), small("a frozen river", 2),
                                     small("a red fox", 3)};
  batch[1].negative_prompt = "blurry";
  batch[1].guidance_scale = 7;
  batch[2].guidance_rescale = 0.5;
  batch[2].original_size = Size{96, 80};
  for (auto& request : batch) request.scheduler = "euler_ancestral";
  const auto together = last_latents(*pipeline, batch);
  ASSERT_EQ(together.size(0), 3);
  for (int i = 0; i < 3; ++i) {
    const auto alone = last_latents(*pipeline, {&batch[i], 1});
    const auto scale = alone.abs().max().item<double>();
    EXPECT_LE((together[i] - alone[0]).abs().max().item<double>(), 1e-4 * scale) << i;
  }
}

TEST(Sdxl, PromptsOfOtherLengthsShareABatch) {
  const auto pipeline = load_for_test(oracles() + tiny);
  std::string text = "a red fox";
  for (int i = 0; i < 30; ++i) text += ", jumping over a frozen river";
  std::vector<ImageRequest> batch = {small("a fox", 1), small(text, 2), small("a river", 3)};
  for (auto& request : batch) request.chunk_long_prompts = true;
  Silent silent;
  const auto together = pipeline->generate(batch, silent);
  for (int i = 0; i < 3; ++i) {
    const auto alone = pipeline->generate({&batch[i], 1}, silent);
    EXPECT_LE(largest_difference(together[i].picture, alone[0].picture), 1) << i;
  }
}

TEST(Sdxl, Bfloat16StaysCloseToFloat32) {
  const std::string pocket = BACKLOT_SOURCE_DIR "/models/pocket-xl";
  const ImageRequest request{.prompt = "a red apple",
                             .seed = 7,
                             .steps = 8,
                             .guidance_scale = 3.5,
                             .width = 64,
                             .height = 64};
  Silent silent;
  const auto exact = load_for_test(pocket)->generate({&request, 1}, silent);
  const auto rough = load_for_test(pocket, Precision::bfloat16)->generate({&request, 1}, silent);
  EXPECT_GT(psnr(exact[0].picture, rough[0].picture), 25);
}

TEST(Sdxl, CachedFeaturesBelongToTheirTimesteps) {
  const auto pipeline = load_for_test(oracles() + tiny);
  for (const char* scheduler : {"euler", "heun", "pndm"}) {
    auto request = small("a fox", 1);
    request.scheduler = scheduler;
    request.steps = 5;
    std::vector<at::Tensor> plain, cached;
    const auto trace = [&](std::vector<at::Tensor>& into) {
      dynamic_cast<SdxlPipeline&>(*pipeline).observe_latents(
          [&](int64_t, const at::Tensor& latents) { into.push_back(latents.clone()); });
      Silent silent;
      pipeline->generate({&request, 1}, silent);
    };
    trace(plain);
    request.cache = 2;
    trace(cached);
    ASSERT_EQ(plain.size(), cached.size());
    // The first timestep is computed whole; what differs comes with the second.
    EXPECT_TRUE(plain[0].equal(cached[0])) << scheduler;
    EXPECT_FALSE(plain[1].equal(cached[1])) << scheduler;
    request.cache = 1000;  // more than there are steps: all after the first are cached
    std::vector<at::Tensor> rest;
    trace(rest);
    EXPECT_TRUE(plain[0].equal(rest[0])) << scheduler;
    EXPECT_FALSE(cached.back().equal(rest.back())) << scheduler;
  }
}

TEST(Sdxl, TilesJoinToAlmostTheSamePicture) {
  const auto pipeline = load_for_test(oracles() + tiny);
  // The model's tiles are 64 pixels wide, so this is 3 x 2 of them.
  ImageRequest request{.prompt = "a fox", .seed = 1, .steps = 1, .width = 128, .height = 72};
  Silent silent;
  const auto whole = pipeline->generate({&request, 1}, silent);
  request.vae_tiling = true;
  const auto tiled = pipeline->generate({&request, 1}, silent);
  EXPECT_EQ(tiled[0].picture.width, 128);
  EXPECT_EQ(tiled[0].picture.height, 72);
  EXPECT_GT(largest_difference(whole[0].picture, tiled[0].picture), 0);
  EXPECT_GT(psnr(whole[0].picture, tiled[0].picture), 20);
}

TEST(Sdxl, MemoryThatTheMachineDoesNotHaveIsOutOfMemory) {
  const auto pipeline = load_for_test(oracles() + tiny);
  // More than the address space of a process.
  const ImageRequest request{
      .prompt = "a fox", .steps = 1, .width = int64_t{1} << 26, .height = int64_t{1} << 26};
  Silent silent;
  EXPECT_THROW(pipeline->generate({&request, 1}, silent), OutOfMemory);
  // Nothing stays broken.
  const auto after = small("a fox", 1);
  EXPECT_EQ(pipeline->generate({&after, 1}, silent).size(), 1u);
}

// Two batches with prompts of their own, one of them in several chunks.
std::vector<std::vector<ImageRequest>> batches_of_prompts() {
  std::string text = "a red fox";
  for (int i = 0; i < 30; ++i) text += ", jumping over a frozen river";
  std::vector<std::vector<ImageRequest>> batches = {{small("a fox", 1), small("a river", 2)},
                                                    {small(text, 3), small("a crow", 4)}};
  batches[0][1].negative_prompt = "blurry";
  for (auto& batch : batches)
    for (auto& request : batch) request.chunk_long_prompts = true;
  return batches;
}

std::vector<std::vector<uint8_t>> pixels(ImagePipeline& pipeline) {
  std::vector<std::vector<uint8_t>> all;
  Silent silent;
  for (const auto& batch : batches_of_prompts())
    for (auto& result : pipeline.generate(batch, silent))
      all.push_back(std::move(result.picture.rgb));
  return all;
}

TEST(Sdxl, TextEncodersMayBeOutOfMemory) {
  for (const auto precision : {Precision::float32, Precision::bfloat16}) {
    PipelineOptions options{.model = oracles() + tiny, .precision = precision};
    Silent silent;
    const auto held = load_sdxl(options, at::kCPU, silent);
    EXPECT_FALSE(held->text_encoders_out());
    const auto expected = pixels(*held);
    ASSERT_EQ(expected.size(), 4u);
    EXPECT_NE(expected[0], expected[1]);

    options.text_encoders_out = true;
    const auto out = load_sdxl(options, at::kCPU, silent);
    EXPECT_TRUE(out->text_encoders_out());
    EXPECT_FALSE(out->move_text_encoders_out());
    EXPECT_EQ(pixels(*out), expected);
    EXPECT_EQ(pixels(*out), expected) << "with prompts that are remembered";

    // Encoded ahead, both batches at once.
    const auto ahead = load_sdxl(options, at::kCPU, silent);
    std::vector<ImageRequest> all;
    for (const auto& batch : batches_of_prompts())
      all.insert(all.end(), batch.begin(), batch.end());
    ahead->prepare(all, 2);
    EXPECT_EQ(pixels(*ahead), expected);

    EXPECT_TRUE(held->move_text_encoders_out());
    EXPECT_TRUE(held->text_encoders_out());
    EXPECT_EQ(pixels(*held), expected);
  }
}

TEST(Sdxl, ReadsMovedOutTextEncodersOnlyForPromptsThatAreNew) {
  TemporaryFolder folder;
  fs::copy(oracles() + tiny, folder / "model", fs::copy_options::recursive);
  Silent silent;
  const auto pipeline = load_sdxl(
      {.model = folder / "model", .precision = Precision::float32, .text_encoders_out = true},
      at::kCPU, silent);
  const std::vector<ImageRequest> batch = {small("a fox", 1), small("a river", 2)};
  pipeline->prepare(batch, 2);
  fs::remove(folder / "model/text_encoder/model.safetensors");
  EXPECT_EQ(pipeline->generate(batch, silent).size(), 2u);
  const auto other = small("a crow", 1);
  EXPECT_THROW(pipeline->generate({&other, 1}, silent), LoadError);
}

TEST(Sdxl, TextEncodersThatDoNotAgreeAreFoundOutEvenIfTheyAreOut) {
  TemporaryFolder folder;
  fs::copy(oracles() + tiny, folder / "model", fs::copy_options::recursive);
  fs::copy_file(oracles() + tiny + "/vae/diffusion_pytorch_model.safetensors",
                folder / "model/text_encoder_2/model.safetensors",
                fs::copy_options::overwrite_existing);
  Silent silent;
  EXPECT_THROW(
      load_sdxl(
          {.model = folder / "model", .precision = Precision::float32, .text_encoders_out = true},
          at::kCPU, silent),
      LoadError);
}

TEST(Sdxl, SaysWhatMemoryItTook) {
  const auto pipeline = load_for_test(oracles() + tiny);
  const auto loaded = pipeline->memory();
  EXPECT_GT(loaded.before, 0u);
  EXPECT_GE(loaded.loaded, loaded.before / 2);
  auto request = small("a fox", 1);
  request.steps = 1;
  Silent silent;
  pipeline->generate({&request, 1}, silent);
  const auto little = pipeline->memory().peak;
  request.width = request.height = 512;
  pipeline->generate({&request, 1}, silent);
  const auto much = pipeline->memory().peak;
  EXPECT_GT(much, little + (uint64_t{8} << 20));
  EXPECT_EQ(pipeline->memory().peak_allocated, much);
  request.width = request.height = 64;
  pipeline->generate({&request, 1}, silent);
  EXPECT_LT(pipeline->memory().peak, much) << "each batch has its own peak";
}

struct StopAfter : Progress {
  void stage(std::string_view name) override { stages.emplace_back(name); }
  void step(int64_t done, int64_t) override { steps = done; }
  bool stop_requested() const override { return steps >= limit; }
  std::vector<std::string> stages;
  int64_t steps = 0, limit = 2;
};

TEST(Sdxl, StopsBetweenSteps) {
  const auto pipeline = load_for_test(oracles() + tiny);
  auto request = small("a fox", 1);
  request.steps = 30;
  StopAfter progress;
  EXPECT_THROW(pipeline->generate({&request, 1}, progress), Interrupted);
  EXPECT_EQ(progress.steps, 2);
  EXPECT_EQ(progress.stages, (std::vector<std::string>{"text_encode", "denoise"}));
}

TEST(Sdxl, ImpossibleRequestsAreItemErrors) {
  const auto pipeline = load_for_test(oracles() + tiny);
  Silent silent;
  for (const auto& [width, height] : {std::pair<int64_t, int64_t>{60, 48}, {0, 48}, {64, -8}}) {
    auto request = small("a fox", 1);
    request.width = width;
    request.height = height;
    EXPECT_THROW(pipeline->generate({&request, 1}, silent), ItemError) << width << "x" << height;
  }
}

TEST(Sdxl, SecondsAreSharedAmongTheBatch) {
  const auto pipeline = load_for_test(oracles() + tiny);
  const std::vector<ImageRequest> batch = {small("a fox", 1), small("a river", 2)};
  Silent silent;
  const auto results = pipeline->generate(batch, silent);
  EXPECT_GT(results[0].seconds.denoise, 0);
  EXPECT_EQ(results[0].seconds.denoise, results[1].seconds.denoise);
}

}  // namespace
}  // namespace backlot
