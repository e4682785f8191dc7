// Pipelines whose weights are made in memory, at the size of the small model.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "base/error.h"
#include "pipelines/language.h"
#include "pipelines/oracle_case.h"
#include "pipelines/synthetic.h"
#include "pipelines/wan.h"
#include "pipelines/wan_pipeline.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

namespace fs = std::filesystem;

const fs::path pocket = BACKLOT_SOURCE_DIR "/models/pocket-xl";

// The small model's folder without its weights.
void copy_configs(const fs::path& to) {
  for (const auto& entry : fs::recursive_directory_iterator(pocket)) {
    const auto target = to / fs::relative(entry.path(), pocket);
    if (entry.is_directory()) {
      fs::create_directories(target);
    } else if (entry.path().extension() != ".safetensors") {
      fs::copy_file(entry.path(), target);
    }
  }
}

std::unique_ptr<ImagePipeline> make(const std::string& architecture,
                                    Precision precision = Precision::float32) {
  Silent silent;
  return load_sdxl({.precision = precision, .synthetic = architecture}, at::kCPU, silent);
}

Picture picture(ImagePipeline& pipeline) {
  const ImageRequest request{.prompt = "a red apple",
                             .seed = 7,
                             .steps = 2,
                             .guidance_scale = 3.5,
                             .width = 64,
                             .height = 48};
  Silent silent;
  return pipeline.generate({&request, 1}, silent)[0].picture;
}

// The same random weights packed and not: packing moves logits a little.
TEST(Synthetic, ALanguageModelNeedsItsConfigOnly) {
  TemporaryFolder folder;
  Json config = Json::parse(read_file(BACKLOT_TEST_DATA "/oracles/qwen2.5/model/config.json"));
  config["hidden_size"] = 64;  // which groups of weights divide
  std::ofstream(folder / "config.json") << config;
  const auto logits = [&](Precision precision, WeightPacking packing) {
    LanguageModelOptions options;
    options.precision = precision;
    options.packing = packing;
    options.cache_tokens = 64;
    options.synthetic = folder.path().string();
    Silent silent;
    const auto model = load_language_model(options, at::kCPU, silent);
    const std::vector<int32_t> tokens = {5, 6, 7, 8}, blocks = {0};
    const TokenRun run{.tokens = tokens, .position = 0, .blocks = blocks};
    const auto row = model->forward(std::span(&run, 1)).logits;
    return std::vector<float>(row.begin(), row.end());
  };
  const auto exact = logits(Precision::float32, WeightPacking::none);
  const auto size = [](const std::vector<float>& values) {
    double sum = 0;
    for (const float value : values) sum += double{value} * value;
    return std::sqrt(sum);
  };
  EXPECT_GT(size(exact), 0);
  EXPECT_EQ(logits(Precision::float32, WeightPacking::none), exact) << "the same every time";
  for (const auto& [packing, most] :
       {std::pair{WeightPacking::int8, 0.05}, {WeightPacking::int4, 0.5}}) {
    auto difference = logits(Precision::automatic, packing);
    for (size_t i = 0; i < exact.size(); ++i) difference[i] -= exact[i];
    EXPECT_GT(size(difference), 0);
    EXPECT_LT(size(difference) / size(exact), most);
  }
}

TEST(Synthetic, AFoldersConfigsSufficeForAPicture) {
  TemporaryFolder folder;
  copy_configs(folder.path());
  for (const auto precision : {Precision::float32, Precision::bfloat16}) {
    const auto pipeline = make(folder.path().string(), precision);
    const auto made = picture(*pipeline);
    EXPECT_EQ(made.rgb.size(), 3u * 64 * 48);
    // A network that overflows paints one colour.
    auto values = made.rgb;
    std::ranges::sort(values);
    EXPECT_GT(std::distance(values.begin(), std::ranges::unique(values).begin()), 20);
  }
}

TEST(Synthetic, TheSamePictureEachTime) {
  const auto first = make(pocket.string()), second = make(pocket.string());
  EXPECT_EQ(picture(*first).rgb, picture(*second).rgb);
  // Not the one of the folder's own weights.
  EXPECT_NE(picture(*first).rgb, picture(*load_for_test(pocket.string())).rgb);
}

TEST(Synthetic, OtherNamesAreUsageErrors) {
  EXPECT_THROW(make("wan-1.3b"), UsageError);
  EXPECT_THROW(make("no-such-thing"), UsageError);
  EXPECT_THROW(make((pocket / "unet").string()), LoadError);
}

TEST(Synthetic, TurboHasSdxlsNetworksAndItsOwnScheduler) {
  const auto base = synthetic_model("sdxl"), turbo = synthetic_model("sdxl-turbo");
  for (const auto* component : {"unet", "vae", "text_encoder", "text_encoder_2"})
    EXPECT_EQ(base.config(component), turbo.config(component)) << component;
  EXPECT_EQ(base.config("scheduler")["_class_name"], "EulerDiscreteScheduler");
  EXPECT_EQ(turbo.config("scheduler")["_class_name"], "EulerAncestralDiscreteScheduler");
  EXPECT_EQ(turbo.config("scheduler")["timestep_spacing"], "trailing");
  EXPECT_EQ(turbo.config("scheduler")["beta_schedule"], "scaled_linear");
  for (const auto* component : {"tokenizer", "tokenizer_2"})
    EXPECT_TRUE(fs::exists(turbo.tokenizer_folder(component) / "merges.txt")) << component;
  EXPECT_THROW(turbo.checkpoint("unet"), LoadError);
  EXPECT_THROW(turbo.config("scaffolding"), LoadError);
}

std::unique_ptr<VideoPipeline> make_video(const std::string& architecture) {
  VideoPipelineOptions options;
  options.precision = Precision::float32;
  options.synthetic = architecture;
  Silent silent;
  return load_wan(options, at::kCPU, silent);
}

TEST(SyntheticVideo, AFoldersConfigsSufficeForAClip) {
  TemporaryFolder folder;
  for (const auto* file : {"model_index.json", "transformer/config.json", "vae/config.json",
                           "text_encoder/config.json", "scheduler/scheduler_config.json"}) {
    fs::create_directories((folder / file).parent_path());
    fs::copy_file(fs::path(BACKLOT_TEST_DATA "/oracles/wan-t2v/model") / file, folder / file);
  }
  const auto clip = [&](VideoPipeline& pipeline, const std::string& prompt) {
    VideoRequest request;
    request.prompt = prompt;
    request.steps = 2;
    request.width = 48;
    request.height = 32;
    request.frames = 5;
    std::vector<std::vector<uint8_t>> frames;
    Silent silent;
    pipeline.generate(
        request, [&](const Picture& frame) { frames.push_back(frame.rgb); }, {}, silent);
    return frames;
  };
  const auto first = make_video(folder.path().string());
  const auto frames = clip(*first, "a red fox");
  ASSERT_EQ(frames.size(), 5u);
  // A network that overflows paints one colour.
  auto values = frames[2];
  std::ranges::sort(values);
  EXPECT_GT(std::distance(values.begin(), std::ranges::unique(values).begin()), 20);
  EXPECT_EQ(clip(*make_video(folder.path().string()), "a red fox"), frames);
  EXPECT_NE(clip(*first, "a cat"), frames) << "texts are random, but not all the same";
  EXPECT_FALSE(first->move_text_encoder(TextEncoderPlace::while_encoding));
}

TEST(SyntheticVideo, OtherNamesAreUsageErrors) {
  EXPECT_THROW(make_video("sdxl"), UsageError);
  EXPECT_THROW(make_video("no-such-thing"), UsageError);
  EXPECT_THROW(make_video(pocket.string()), LoadError) << "it makes pictures";
}

// The published sizes (tests/models/listings_test.cpp holds networks of those against listings).
TEST(SyntheticVideo, FullSizeNetworksBind) {
  for (const auto& [name, width, blocks] :
       {std::tuple("wan-1.3b", 1536, 30), {"wan-14b", 5120, 40}}) {
    const auto folder = synthetic_video_model(name);
    const auto config = read_wan_transformer_3d_config(folder.config("transformer"), name);
    EXPECT_EQ(config.width(), width);
    EXPECT_EQ(config.num_layers, blocks);
    load<WanTransformer3DModel>(RandomWeights("transformer"), config, at::kBFloat16, at::kMeta);
    EXPECT_EQ(read_umt5_config(folder.config("text_encoder"), name).d_model, config.text_dim);
    EXPECT_EQ(read_autoencoder_kl_wan_config(folder.config("vae"), name).decoder_base_dim, 96);
    EXPECT_EQ(folder.config("scheduler")["flow_shift"], 3.0);
    EXPECT_THROW(folder.config("unet"), LoadError);
    EXPECT_THROW(folder.checkpoint("transformer"), LoadError);
  }
}

// On meta tensors: no memory, no values.
TEST(Synthetic, FullSizeNetworksBind) {
  const auto model = synthetic_model("sdxl");
  load<UNet2DConditionModel>(RandomWeights("unet"),
                             read_unet_2d_condition_config(model.config("unet"), "unet"),
                             at::kBFloat16, at::kMeta);
  load<AutoencoderKL>(RandomWeights("vae"), read_autoencoder_kl_config(model.config("vae"), "vae"),
                      at::kBFloat16, at::kMeta);
}

}  // namespace
}  // namespace backlot
