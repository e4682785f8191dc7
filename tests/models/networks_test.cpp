// Each network against recorded inputs and outputs of its reference, in float32.
#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "models/autoencoder_kl.h"
#include "models/unet_2d_condition.h"
#include "support/read_safetensors.h"

namespace backlot {
namespace {

class Networks : public ::testing::Test {
 protected:
  static std::string folder() { return BACKLOT_TEST_DATA "/oracles/sdxl-base/"; }
  static Json config(const std::string& component) {
    return Json::parse(read_file(folder() + "model/" + component + "/config.json"));
  }
  static double tolerance(const std::string& key) {
    return Json::parse(read_file(folder() + "case.json"))["tolerance"]["tensor_max_abs"][key];
  }

  c10::InferenceMode inference;
};

double largest_difference(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  return (a - b).abs().max().item<double>();
}

TEST_F(Networks, UNetGivesTheRecordedOutput) {
  const auto recorded = read_safetensors(folder() + "expected/tensors.safetensors");
  const auto unet = load<UNet2DConditionModel>(
      Checkpoint::open(folder() + "model/unet", "diffusion_pytorch_model"),
      read_unet_2d_condition_config(config("unet"), "unet"), at::kFloat, at::kCPU);
  const auto text = at::cat({recorded.at("negative_prompt_embeds"), recorded.at("prompt_embeds")});
  const auto timesteps = at::stack({recorded.at("denoiser.timestep.00").flatten()[0],
                                    recorded.at("denoiser.timestep.01").flatten()[0]});
  const auto conditioning = unet.condition(text, recorded.at("added.text_embeds"),
                                           recorded.at("added.time_ids"), timesteps);
  for (const int step : {0, 1}) {
    const auto number = "0" + std::to_string(step);
    const auto out = unet(recorded.at("denoiser.in." + number), conditioning, step);
    EXPECT_LE(largest_difference(out, recorded.at("denoiser.out." + number)),
              tolerance("denoiser.out." + number));
  }
}

TEST_F(Networks, DeepFeaturesOfTheSameStepChangeNothing) {
  const auto recorded = read_safetensors(folder() + "expected/tensors.safetensors");
  const auto unet = load<UNet2DConditionModel>(
      Checkpoint::open(folder() + "model/unet", "diffusion_pytorch_model"),
      read_unet_2d_condition_config(config("unet"), "unet"), at::kFloat, at::kCPU);
  const auto text = at::cat({recorded.at("negative_prompt_embeds"), recorded.at("prompt_embeds")});
  const auto conditioning =
      unet.condition(text, recorded.at("added.text_embeds"), recorded.at("added.time_ids"),
                     at::tensor({900.0, 100.0}, at::kFloat));
  const auto& sample = recorded.at("denoiser.in.00");
  Tensor deep;
  const auto first = unet(sample, conditioning, 0, &deep);
  EXPECT_TRUE(first.equal(unet(sample, conditioning, 0)));
  EXPECT_TRUE(unet(sample, conditioning, 0, &deep).equal(first));
  // Another time: the finest level hears of it, the deep ones do not.
  const auto reused = unet(sample, conditioning, 1, &deep);
  EXPECT_FALSE(reused.equal(first));
  EXPECT_FALSE(reused.equal(unet(sample, conditioning, 1)));
}

TEST_F(Networks, DecoderGivesTheRecordedPicture) {
  const auto recorded = read_safetensors(folder() + "expected/tensors.safetensors");
  const auto vae =
      load<AutoencoderKL>(Checkpoint::open(folder() + "model/vae", "diffusion_pytorch_model"),
                          read_autoencoder_kl_config(config("vae"), "vae"), at::kFloat, at::kCPU);
  const auto& z = recorded.at("vae.decode_in");
  EXPECT_LE(largest_difference(vae.decode(z), recorded.at("vae.decode_out")),
            tolerance("vae.decode_out"));
  // No larger than a tile: the same numbers.
  EXPECT_TRUE(vae.decode_tiled(z, [] {}).equal(vae.decode(z)));
}

}  // namespace
}  // namespace backlot
