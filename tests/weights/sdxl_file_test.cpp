#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "support/temporary_folder.h"
#include "weights/model_folder.h"
#include "weights/safetensors_bytes.h"
#include "weights/sdxl_names.h"
#include "weights/sdxl_original.h"

namespace backlot {
namespace {

const fs::path listings = fs::path(BACKLOT_TEST_DATA) / "listings";

void expect_parts(const std::string& text, std::initializer_list<std::string_view> parts) {
  for (const auto part : parts) EXPECT_NE(text.find(part), std::string::npos) << text;
}

// The checkpoint file of the full size, written once: 7 GB by its length, a few MB on the disk.
class SdxlFile : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    Listing tensors = original_sdxl(listings);
    tensors["conditioner.embedders.0.transformer.text_model.embeddings.position_ids"] = {1, 77};
    tensors["conditioner.embedders.1.model.logit_scale"] = {};
    tensors["model_ema.decay"] = {};
    tensors["denoiser.sigmas"] = {1000};
    write_sparse_checkpoint(*folder_ / "sdxl.safetensors", tensors);
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }
  static ModelFolder open() { return ModelFolder::open(*folder_ / "sdxl.safetensors"); }

  static inline TemporaryFolder* folder_ = nullptr;
};

Listing names_and_shapes(const Checkpoint& checkpoint) {
  Listing listing;
  for (const auto& [name, view] : checkpoint.tensors()) listing.emplace(name, view.shape);
  return listing;
}

uint32_t number_at(const TensorView& view) {
  uint32_t number = 0;
  std::memcpy(&number, view.bytes.data(), sizeof number);
  return number;
}

// Names and shapes are the listing's, and each tensor is another one of the file.
void expect_listing(const ModelFolder& model, std::string_view component, const Listing& expected) {
  const auto checkpoint = model.checkpoint(component);
  EXPECT_EQ(names_and_shapes(checkpoint), expected) << component;
  std::set<const std::byte*> places;
  for (const auto& [name, view] : checkpoint.tensors()) {
    EXPECT_TRUE(places.insert(view.bytes.data()).second) << name;
    EXPECT_EQ(view.bytes.size(), static_cast<size_t>(view.elements() * 2)) << name;
  }
}

TEST_F(SdxlFile, HasTheUnetsListing) {
  expect_listing(open(), "unet", read_listing(listings / "sdxl-unet.txt"));
}

TEST_F(SdxlFile, HasTheAutoencodersListing) {
  expect_listing(open(), "vae", read_listing(listings / "sdxl-vae.txt"));
}

TEST_F(SdxlFile, HasTheFirstTextEncodersListing) {
  Listing expected;
  for (const auto& [name, shape] : read_listing(listings / "sdxl-text_encoder.txt"))
    expected.emplace("text_model." + name, shape);
  expect_listing(open(), "text_encoder", expected);
}

TEST_F(SdxlFile, HasTheSecondTextEncodersListing) {
  expect_listing(open(), "text_encoder_2", read_listing(listings / "sdxl-text_encoder_2.txt"));
}

// The renaming's inverse could hide a swap of two tensors with the same shape: pairs known from the
// published files.
TEST_F(SdxlFile, PutsEachTensorInItsPlace) {
  const auto model = open();
  const SafetensorsFile file(*folder_ / "sdxl.safetensors");
  const auto expect_same = [&](std::string_view component, std::string_view name,
                               const std::string& original) {
    const auto checkpoint = model.checkpoint(component);
    const auto* view = checkpoint.find(name);
    ASSERT_NE(view, nullptr) << name;
    EXPECT_EQ(number_at(*view), number_at(file.tensors().at(original))) << name;
  };
  expect_same("unet", "down_blocks.1.resnets.0.conv_shortcut.weight",
              "model.diffusion_model.input_blocks.4.0.skip_connection.weight");
  expect_same("unet", "up_blocks.1.upsamplers.0.conv.bias",
              "model.diffusion_model.output_blocks.5.2.conv.bias");
  expect_same("unet", "mid_block.attentions.0.transformer_blocks.9.attn2.to_k.weight",
              "model.diffusion_model.middle_block.1.transformer_blocks.9.attn2.to_k.weight");
  expect_same("vae", "decoder.up_blocks.0.resnets.2.conv1.weight",
              "first_stage_model.decoder.up.3.block.2.conv1.weight");
  expect_same("vae", "encoder.mid_block.attentions.0.to_out.0.weight",
              "first_stage_model.encoder.mid.attn_1.proj_out.weight");
  expect_same("text_encoder_2", "text_model.encoder.layers.31.mlp.fc2.bias",
              "conditioner.embedders.1.model.transformer.resblocks.31.mlp.c_proj.bias");
}

TEST_F(SdxlFile, SplitsFusedProjectionsByRows) {
  const auto model = open();
  const SafetensorsFile file(*folder_ / "sdxl.safetensors");
  const auto encoder = model.checkpoint("text_encoder_2");
  const auto& fused = file.tensors().at(
      "conditioner.embedders.1.model.transformer.resblocks.3.attn.in_proj_weight");
  const std::string place = "text_model.encoder.layers.3.self_attn.";
  const auto *q = encoder.find(place + "q_proj.weight"), *k = encoder.find(place + "k_proj.weight"),
             *v = encoder.find(place + "v_proj.weight");
  EXPECT_EQ(number_at(*q), number_at(fused));
  EXPECT_EQ(k->bytes.data() - q->bytes.data(), 1280 * 1280 * 2);
  EXPECT_EQ(v->bytes.data() - k->bytes.data(), 1280 * 1280 * 2);
}

TEST_F(SdxlFile, MarksTheOneTransposedMatrix) {
  const auto encoder = open().checkpoint("text_encoder_2");
  for (const auto& [name, view] : encoder.tensors())
    EXPECT_EQ(view.transposed, name == "text_projection.weight") << name;
}

TEST_F(SdxlFile, BringsItsConfigs) {
  const auto model = open();
  EXPECT_EQ(model.pipeline_class(), "StableDiffusionXLPipeline");
  EXPECT_TRUE(model.single_file());
  for (const auto* component : {"unet", "vae", "text_encoder", "text_encoder_2"}) {
    const Json published =
        Json::parse(read_file(listings / ("sdxl-" + std::string(component) + ".config.json")));
    // Token ids of early transformers stand in the published text encoders; the rest agrees.
    const Json config = model.config(component);
    for (const auto& [key, value] : config.items()) {
      if (published.contains(key) && !key.ends_with("token_id") && key != "architectures" &&
          !(value.is_null() || published[key].is_null())) {
        EXPECT_EQ(value, published[key]) << component << " " << key;
      }
    }
  }
  EXPECT_EQ(model.config("scheduler")["timestep_spacing"], "leading");
  EXPECT_EQ(model.config("scheduler")["prediction_type"], "epsilon");
}

TEST_F(SdxlFile, FindsVocabulariesBesideItOrShipped) {
  const auto model = open();
  const auto pad = [&](std::string_view component) {
    const fs::path folder = model.tokenizer_folder(component);
    EXPECT_TRUE(fs::exists(folder / "merges.txt")) << folder;
    return Json::parse(read_file(folder / "tokenizer_config.json"))["pad_token"];
  };
  EXPECT_EQ(pad("tokenizer"), "<|endoftext|>");
  EXPECT_EQ(pad("tokenizer_2"), "!");
  write_quickly(*folder_ / "tokenizer/merges.txt", "x");
  EXPECT_EQ(model.tokenizer_folder("tokenizer"), *folder_ / "tokenizer");
  fs::remove_all(*folder_ / "tokenizer");
}

TEST_F(SdxlFile, LeavesUnknownNamesForTheBindingToReport) {
  EXPECT_EQ(diffusers_unet_name("input_blocks.9.0.in_layers.0.weight"), std::nullopt);
  EXPECT_EQ(diffusers_unet_name("output_blocks.0.2.conv.weight"), std::nullopt);
  EXPECT_EQ(diffusers_unet_name("input_blocks.99999999999.0.op.weight"), std::nullopt);
  EXPECT_EQ(diffusers_unet_name("input_blocks.4"), std::nullopt);
  EXPECT_EQ(diffusers_vae_name("encoder.up.0.block.0.conv1.weight"), std::nullopt);
  EXPECT_EQ(diffusers_vae_name("decoder.up.4.block.0.conv1.weight"), std::nullopt);
  EXPECT_EQ(diffusers_open_clip_name("visual.conv1.weight"), std::nullopt);
}

class OtherFile : public ::testing::Test {
 protected:
  std::string opening(const std::map<std::string, std::vector<int64_t>>& tensors) {
    write_float_tensors(folder_ / "other.safetensors", tensors);
    return load_error([&] { ModelFolder::open(folder_ / "other.safetensors"); });
  }
  TemporaryFolder folder_;
};

TEST_F(OtherFile, IsNamedWhereItsTensorsTell) {
  const std::vector<int64_t> one = {1};
  expect_parts(opening({{"lora_unet_down_blocks_1.lora_up.weight", one}}), {"a LoRA"});
  expect_parts(opening({{"unet.down_blocks.1.attn.to_q.lora_A.weight", one}}), {"a LoRA"});
  expect_parts(opening({{"model.diffusion_model.input_blocks.0.0.weight", one},
                        {"first_stage_model.decoder.conv_in.weight", one},
                        {"cond_stage_model.transformer.text_model.final_layer_norm.bias", one}}),
               {"Stable Diffusion 1.x, not SDXL"});
  expect_parts(opening({{"conditioner.embedders.0.model.ln_final.bias", one},
                        {"model.diffusion_model.out.0.bias", one}}),
               {"refiner"});
  expect_parts(opening({{"model.diffusion_model.double_blocks.0.img_attn.qkv.weight", one}}),
               {"Flux"});
  expect_parts(opening({{"down_blocks.0.resnets.0.conv1.weight", one}}),
               {"one component", "model_index.json"});
}

TEST_F(OtherFile, IsRefusedWithItsFirstNames) {
  expect_parts(opening({{"alpha", {1}}, {"beta", {2}}}),
               {"not an SDXL checkpoint", "alpha, beta", "; "});
  expect_parts(opening({}), {"not an SDXL checkpoint", "none"});
}

TEST_F(OtherFile, IsRefusedWhenAComponentIsAbsent) {
  expect_parts(opening({{"model.diffusion_model.input_blocks.0.0.weight", {1}},
                        {"conditioner.embedders.0.transformer.text_model.x", {1}},
                        {"conditioner.embedders.1.model.ln_final.weight", {1}}}),
               {"without vae"});
}

TEST_F(OtherFile, MayPredictVelocity) {
  EXPECT_EQ(opening({{"model.diffusion_model.input_blocks.0.0.weight", {1}},
                     {"first_stage_model.decoder.conv_in.weight", {1}},
                     {"conditioner.embedders.0.transformer.text_model.x", {1}},
                     {"conditioner.embedders.1.model.ln_final.weight", {1}},
                     {"v_pred", {}},
                     {"ztsnr", {}}}),
            "");
  const auto scheduler = ModelFolder::open(folder_ / "other.safetensors").config("scheduler");
  EXPECT_EQ(scheduler["prediction_type"], "v_prediction");
  EXPECT_EQ(scheduler["rescale_betas_zero_snr"], true);
}

}  // namespace
}  // namespace backlot
