// Pipelines whose weights are made in memory, at the size of the small model.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "pipelines/oracle_case.h"
#include "pipelines/synthetic.h"
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
