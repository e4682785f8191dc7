// Settings that would change the picture are honoured or refused, never passed over.
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "models/autoencoder_kl.h"
#include "models/autoencoder_kl_wan.h"
#include "models/clip_text_model.h"
#include "models/umt5_encoder.h"
#include "models/unet_2d_condition.h"
#include "models/wan_transformer_3d.h"

namespace backlot {
namespace {

Json config_of(const std::string& name) {
  return Json::parse(read_file(BACKLOT_TEST_DATA "/listings/" + name + ".config.json"));
}

std::string refusal(const std::function<void()>& read) {
  try {
    read();
  } catch (const LoadError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Config, UNetSettingsThatBacklotCannotHonourAreRefusedByName) {
  const std::vector<std::pair<std::string, Json>> cases = {
      {"class_embed_type", "timestep"},
      {"resnet_time_scale_shift", "scale_shift"},
      {"time_cond_proj_dim", 256},
      {"attention_type", "gated"},
      {"mid_block_type", nullptr},
      {"addition_embed_type", nullptr},
      {"act_fn", "mish"},
      {"only_cross_attention", true},
      {"transformer_layers_per_block", {1, 2}},
      {"in_channels", "four"},
      {"down_block_types", {"AttnDownBlock2D", "DownBlock2D", "DownBlock2D"}},
      {"some_new_setting", 1}};
  for (const auto& [key, value] : cases) {
    auto json = config_of("sdxl-unet");
    json[key] = value;
    const auto message = refusal([&] { read_unet_2d_condition_config(json, "unet/config.json"); });
    EXPECT_NE(message.find(key), std::string::npos) << key << ": " << message;
    EXPECT_NE(message.find("unet/config.json"), std::string::npos) << message;
  }
}

TEST(Config, AutoencoderSettingsThatBacklotCannotHonourAreRefusedByName) {
  const std::vector<std::pair<std::string, Json>> cases = {
      {"shift_factor", 0.1},
      {"latents_mean", {1.0, 2.0}},
      {"act_fn", "relu"},
      {"up_block_types", {"UpDecoderBlock2D"}}};
  for (const auto& [key, value] : cases) {
    auto json = config_of("sdxl-vae");
    json[key] = value;
    const auto message = refusal([&] { read_autoencoder_kl_config(json, "vae/config.json"); });
    EXPECT_NE(message.find(key), std::string::npos) << key << ": " << message;
  }
}

TEST(Config, TextEncoderActivationIsRefusedByName) {
  auto json = config_of("sdxl-text_encoder");
  json["hidden_act"] = "relu";
  const auto message =
      refusal([&] { read_clip_text_config(json, "text_encoder/config.json", ClipHead::none); });
  EXPECT_NE(message.find("hidden_act"), std::string::npos) << message;
}

TEST(Config, WanSettingsThatBacklotCannotHonourAreRefusedByName) {
  using Read = std::function<void(const Json&)>;
  const Read transformer = [](const Json& json) { read_wan_transformer_3d_config(json, "it"); };
  const Read vae = [](const Json& json) { read_autoencoder_kl_wan_config(json, "it"); };
  const Read text = [](const Json& json) { read_umt5_config(json, "it"); };
  struct Case {
    std::string name;
    Read read;
    std::string key;
    Json value;
  };
  const std::vector<Case> cases = {
      {"wan2.1-t2v-1.3b-transformer", transformer, "image_dim", 1280},
      {"wan2.1-t2v-1.3b-transformer", transformer, "added_kv_proj_dim", 5120},
      {"wan2.1-t2v-1.3b-transformer", transformer, "in_channels", 36},
      {"wan2.1-t2v-1.3b-transformer", transformer, "qk_norm", "rms_norm"},
      {"wan2.1-t2v-1.3b-transformer", transformer, "patch_size", {2, 2}},
      {"wan2.1-t2v-1.3b-transformer", transformer, "some_new_setting", 1},
      {"wan2.1-vae", vae, "is_residual", true},
      {"wan2.1-vae", vae, "patch_size", 2},
      {"wan2.1-vae", vae, "latents_std", {1.0}},
      {"wan2.1-vae", vae, "scale_factor_spatial", 16},
      {"wan2.1-vae", vae, "scale_factor_temporal", 8},
      {"wan2.1-vae", vae, "temperal_downsample", {true, 1, false}},
      {"wan2.1-vae", vae, "attn_scales", {0.5}},
      {"umt5-xxl-encoder", text, "model_type", "t5"},
      {"umt5-xxl-encoder", text, "feed_forward_proj", "relu"},
      {"umt5-xxl-encoder", text, "relative_attention_num_buckets", 6}};
  for (const auto& [name, read, key, value] : cases) {
    auto json = config_of(name);
    EXPECT_EQ(refusal([&] { read(json); }), "accepted");
    json[key] = value;
    const auto message = refusal([&] { read(json); });
    EXPECT_NE(message.find(key), std::string::npos) << key << ": " << message;
    EXPECT_EQ(message.find("SDXL"), std::string::npos) << message;
  }
}

TEST(Config, SingleNumbersStandForEveryLevel) {
  auto json = config_of("sdxl-unet");
  json["attention_head_dim"] = 5;
  json["transformer_layers_per_block"] = 1;
  const auto config = read_unet_2d_condition_config(json, "unet/config.json");
  for (const auto& level : config.levels) EXPECT_EQ(level.heads, 5);
  EXPECT_EQ(config.levels[0].down_transformers, 0);
  EXPECT_EQ(config.levels[2].up_transformers, 1);
}

}  // namespace
}  // namespace backlot
