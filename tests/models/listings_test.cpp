// The full-size networks ask for exactly the published tensors, on meta tensors: no memory.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "base/files.h"
#include "models/autoencoder_kl.h"
#include "models/autoencoder_kl_wan.h"
#include "models/clip_text_model.h"
#include "models/umt5_encoder.h"
#include "models/unet_2d_condition.h"
#include "models/wan_transformer_3d.h"

namespace backlot {
namespace {

const std::string listings = BACKLOT_TEST_DATA "/listings/";

Json config_of(const std::string& name) {
  return Json::parse(read_file(listings + name + ".config.json"));
}

// "down_blocks.0.resnets.0.conv1.bias [320]" a line; views without bytes behind them.
Checkpoint listing(const std::string& name) {
  std::map<std::string, TensorView, std::less<>> tensors;
  std::ifstream file(listings + name + ".txt");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with('#')) continue;
    const auto bracket = line.find(" [");
    TensorView view;
    std::stringstream shape(line.substr(bracket + 2));
    for (std::string size; std::getline(shape, size, ',');) view.shape.push_back(std::stoll(size));
    tensors.emplace(line.substr(0, bracket), view);
  }
  EXPECT_FALSE(tensors.empty());
  return Checkpoint(name, {}, std::move(tensors));
}

template <class Model, class Config>
void bind(const std::string& name, const Config& config) {
  EXPECT_NO_THROW((load<Model>(listing(name), config, at::kBFloat16, at::kMeta)));
}

TEST(Listings, UNetBinds) {
  bind<UNet2DConditionModel>("sdxl-unet",
                             read_unet_2d_condition_config(config_of("sdxl-unet"), "sdxl-unet"));
}

TEST(Listings, AutoencoderBinds) {
  bind<AutoencoderKL>("sdxl-vae", read_autoencoder_kl_config(config_of("sdxl-vae"), "sdxl-vae"));
}

TEST(Listings, TextEncodersBind) {
  bind<CLIPTextModel>("sdxl-text_encoder",
                      read_clip_text_config(config_of("sdxl-text_encoder"), "te", ClipHead::none));
  bind<CLIPTextModel>("sdxl-text_encoder_2", read_clip_text_config(config_of("sdxl-text_encoder_2"),
                                                                   "te2", ClipHead::projection));
}

TEST(Listings, WanTransformersBind) {
  for (const std::string name : {"wan2.1-t2v-1.3b-transformer", "wan2.1-t2v-14b-transformer"}) {
    bind<WanTransformer3DModel>(name, read_wan_transformer_3d_config(config_of(name), name));
  }
}

TEST(Listings, WanAutoencoderAndTextEncoderBind) {
  bind<AutoencoderKLWan>("wan2.1-vae",
                         read_autoencoder_kl_wan_config(config_of("wan2.1-vae"), "wan2.1-vae"));
  bind<UMT5Encoder>("umt5-xxl-encoder",
                    read_umt5_config(config_of("umt5-xxl-encoder"), "umt5-xxl-encoder"));
}

TEST(Listings, AnotherDepthDoesNotBind) {
  auto json = config_of("sdxl-unet");
  json["transformer_layers_per_block"] = {1, 2, 9};
  const auto config = read_unet_2d_condition_config(json, "sdxl-unet");
  EXPECT_ANY_THROW(
      (load<UNet2DConditionModel>(listing("sdxl-unet"), config, at::kFloat, at::kMeta)));
}

}  // namespace
}  // namespace backlot
