#include "weights/model_folder.h"

#include <gtest/gtest.h>

#include "support/sharded_model.h"
#include "support/temporary_folder.h"
#include "weights/inspect.h"
#include "weights/safetensors_bytes.h"

namespace backlot {
namespace {

void expect_parts(const std::string& text, std::initializer_list<std::string_view> parts) {
  for (const auto part : parts) EXPECT_NE(text.find(part), std::string::npos) << text;
}

std::string opening(const fs::path& path) {
  return load_error([&] { ModelFolder::open(path); });
}

// A model folder of a few bytes in diffusers' layout.
void write_model(const fs::path& folder) {
  write_quickly(folder / "model_index.json", R"({
    "_class_name": "StableDiffusionXLPipeline",
    "force_zeros_for_empty_prompt": true,
    "image_encoder": [null, null],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"]})");
  write_quickly(folder / "scheduler/scheduler_config.json", R"({"beta_start": 0.00085})");
  write_quickly(folder / "text_encoder/config.json", R"({"hidden_size": 2})");
  write_float_tensors(folder / "text_encoder/model.safetensors", {{"text_model.a", {2}}});
  write_quickly(folder / "tokenizer/merges.txt", "#version: 0.2\n");
  write_quickly(folder / "unet/config.json", "{\n  \"in_channels\": 4\n}\n");
  write_float_tensors(folder / "unet/diffusion_pytorch_model.safetensors", {{"a", {2, 3}}});
  write_quickly(folder / "vae/config.json", "{}");
  write_float_tensors(folder / "vae/diffusion_pytorch_model.safetensors",
                      {{"decoder.mid_block.attentions.0.query.weight", {2, 2, 1, 1}},
                       {"decoder.mid_block.attentions.0.proj_attn.bias", {2}},
                       {"decoder.conv_in.weight", {1}}});
}

class ModelFolderTest : public ::testing::Test {
 protected:
  ModelFolderTest() { write_model(folder_.path()); }
  TemporaryFolder folder_;
};

TEST_F(ModelFolderTest, ReadsTheDiffusersLayout) {
  const auto model = ModelFolder::open(folder_.path());
  EXPECT_EQ(model.pipeline_class(), "StableDiffusionXLPipeline");
  EXPECT_FALSE(model.single_file());
  EXPECT_TRUE(model.has("unet"));
  EXPECT_FALSE(model.has("image_encoder"));
  EXPECT_FALSE(model.has("text_encoder_2"));
  EXPECT_FALSE(model.has("force_zeros_for_empty_prompt"));
  EXPECT_EQ(model.config("unet")["in_channels"], 4);
  EXPECT_EQ(model.config("scheduler")["beta_start"], 0.00085);
  EXPECT_TRUE(model.checkpoint("unet").find("a"));
  EXPECT_TRUE(model.checkpoint("text_encoder").find("text_model.a"));
  EXPECT_EQ(model.tokenizer_folder("tokenizer"), folder_ / "tokenizer");
}

TEST_F(ModelFolderTest, ListsTheFilesThatDecideAPicture) {
  auto files = ModelFolder::open(folder_.path()).files(std::nullopt);
  std::vector<std::string> names;
  for (const auto& file : files)
    names.push_back(file.lexically_relative(folder_.path()).generic_string());
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names,
            (std::vector<std::string>{"model_index.json", "scheduler/scheduler_config.json",
                                      "text_encoder/config.json", "text_encoder/model.safetensors",
                                      "tokenizer/merges.txt", "unet/config.json",
                                      "unet/diffusion_pytorch_model.safetensors", "vae/config.json",
                                      "vae/diffusion_pytorch_model.safetensors"}));
}

TEST_F(ModelFolderTest, GivesAnEarlyAutoencodersAttentionItsPresentNames) {
  const auto vae = ModelFolder::open(folder_.path()).checkpoint("vae");
  const auto* query = vae.find("decoder.mid_block.attentions.0.to_q.weight");
  ASSERT_NE(query, nullptr);
  EXPECT_EQ(query->shape, (std::vector<int64_t>{2, 2}));
  EXPECT_TRUE(vae.find("decoder.mid_block.attentions.0.to_out.0.bias"));
  EXPECT_TRUE(vae.find("decoder.conv_in.weight"));
  EXPECT_EQ(vae.tensors().size(), 3u);
}

TEST_F(ModelFolderTest, PlacesAConfigsSyntaxError) {
  write_quickly(folder_ / "unet/config.json", "{\n  \"in_channels\": 4,\n  oops\n}\n");
  const auto model = ModelFolder::open(folder_.path());
  expect_parts(load_error([&] { model.config("unet"); }), {"unet/config.json:3:3: ", "; "});
}

TEST_F(ModelFolderTest, RefusesHostileConfigs) {
  const auto model = ModelFolder::open(folder_.path());
  const auto complaint = [&](std::string_view text) {
    write_quickly(folder_ / "unet/config.json", text);
    return load_error([&] { model.config("unet"); });
  };
  expect_parts(complaint(std::string(1'000'000, '[')), {"nested deeper"});
  expect_parts(complaint(R"({"a": 1, "a": 2})"), {"'a' is there twice"});
  expect_parts(complaint("[1]"), {"not a JSON object"});
  expect_parts(complaint(std::string((16 << 20) + 1, ' ')), {"larger than"});
  expect_parts(complaint(std::string("{}\0{}", 5)), {"zero byte"});
  expect_parts(complaint("{\"a\": \"\xff\"}"), {"unet/config.json:1:"});
  expect_parts(complaint(""), {"unet/config.json:1:1"});
}

TEST_F(ModelFolderTest, NamesWhatIsMissing) {
  const auto model = ModelFolder::open(folder_.path());
  fs::remove(folder_ / "unet/config.json");
  fs::rename(folder_ / "unet/diffusion_pytorch_model.safetensors",
             folder_ / "unet/diffusion_pytorch_model.bin");
  fs::remove_all(folder_ / "tokenizer");
  expect_parts(load_error([&] { model.config("unet"); }), {"unet/config.json: missing"});
  expect_parts(load_error([&] { model.checkpoint("unet"); }),
               {"unet/diffusion_pytorch_model.safetensors: missing",
                "diffusion_pytorch_model.bin, a pickle"});
  expect_parts(load_error([&] { model.tokenizer_folder("tokenizer"); }), {"tokenizer: missing"});
}

TEST_F(ModelFolderTest, RefusesComponentNamesThatLeadElsewhere) {
  write_quickly(folder_ / "model_index.json",
                R"({"_class_name": "X", "../unet": ["diffusers", "UNet2DConditionModel"]})");
  expect_parts(opening(folder_.path()), {"model_index.json", "not a component's name"});
}

TEST_F(ModelFolderTest, RefusesAnIndexWithoutAPipeline) {
  write_quickly(folder_ / "model_index.json", "{}");
  expect_parts(opening(folder_.path()), {"model_index.json", "_class_name"});
}

TEST_F(ModelFolderTest, SaysWhatSomethingElseIs) {
  expect_parts(opening(folder_ / "nothing"), {"nothing: no such model", "check the path"});
  expect_parts(opening(folder_ / "scheduler"), {"no model_index.json"});
  write_quickly(folder_ / "unet/config.json", R"({"_class_name": "UNet2DConditionModel"})");
  expect_parts(opening(folder_ / "unet"), {"one component (UNet2DConditionModel)", "folder above"});
  write_quickly(folder_ / "llm/config.json", R"({"model_type": "qwen2"})");
  expect_parts(opening(folder_ / "llm"), {"transformers folder of type 'qwen2'"});
  write_quickly(folder_ / "loose/model.ckpt", "x");
  expect_parts(opening(folder_ / "loose"), {"only model.ckpt, a pickle", "safetensors"});
  write_quickly(folder_ / "cache/snapshots/main", "x");
  expect_parts(opening(folder_ / "cache"), {"snapshots/"});
  for (const auto* name : {"a.ckpt", "a.pt", "a.pth", "a.bin"}) {
    write_quickly(folder_ / name, "x");
    expect_parts(opening(folder_ / name), {"pickle", "safetensors"});
  }
  write_quickly(folder_ / "a.gguf", "GGUF");
  expect_parts(opening(folder_ / "a.gguf"), {"GGUF", "safetensors"});
  write_quickly(folder_ / "a.txt", "x");
  expect_parts(opening(folder_ / "a.txt"), {"not a model"});
}

TEST_F(ModelFolderTest, FindsTheLicence) {
  EXPECT_EQ(ModelFolder::open(folder_.path()).licence(), std::nullopt);
  write_quickly(folder_ / "LICENSE.md", "text");
  EXPECT_EQ(ModelFolder::open(folder_.path()).licence(), "LICENSE.md");
}

TEST(ModelFolder, OpensTheBundledModel) {
  const auto model = ModelFolder::open(fs::path(BACKLOT_SOURCE_DIR) / "models/pocket-xl");
  EXPECT_EQ(model.pipeline_class(), "StableDiffusionXLPipeline");
  for (const auto* component : {"unet", "vae", "text_encoder", "text_encoder_2"})
    EXPECT_FALSE(model.checkpoint(component).tensors().empty()) << component;
}

TEST_F(ModelFolderTest, OpensShardsAndVariants) {
  const fs::path oracles = fs::path(BACKLOT_TEST_DATA) / "oracles";
  write_sharded_sdxl(folder_ / "sharded");
  const auto sharded = ModelFolder::open(folder_ / "sharded");
  const auto half = ModelFolder::open(oracles / "sdxl-fp16/model");
  for (const auto* component : {"unet", "vae", "text_encoder", "text_encoder_2"}) {
    EXPECT_GT(sharded.checkpoint(component).files().size(), 1u) << component;
    EXPECT_FALSE(half.checkpoint(component, "fp16").tensors().empty()) << component;
    expect_parts(load_error([&] { half.checkpoint(component); }), {"set variant: fp16"});
  }
}

TEST_F(ModelFolderTest, InspectsWhatIsThere) {
  const auto summary = inspect_model(folder_.path());
  EXPECT_EQ(summary.kind, "diffusers folder");
  EXPECT_TRUE(summary.problems.empty());
  EXPECT_EQ(summary.parameters(), 2 + 6 + 4 + 2 + 1);
  ASSERT_EQ(summary.components.size(), 3u);
  EXPECT_EQ(summary.components[1].name, "unet");
  EXPECT_EQ(summary.components[1].dtypes.at("F32"), 6);
  const Json json = to_json(summary);
  EXPECT_EQ(json["memory"]["bfloat16"], 30);
  EXPECT_EQ(json["variant"], nullptr);
  EXPECT_EQ(json["components"][1]["class"], "UNet2DConditionModel");
}

TEST_F(ModelFolderTest, InspectsAFolderThatHasOnlyAVariant) {
  const auto half = inspect_model(fs::path(BACKLOT_TEST_DATA) / "oracles/sdxl-fp16/model");
  EXPECT_EQ(half.variant, "fp16");
  EXPECT_TRUE(half.problems.empty());
  EXPECT_TRUE(half.components[0].dtypes.contains("F16"));
}

TEST_F(ModelFolderTest, CollectsEveryProblem) {
  fs::resize_file(folder_ / "unet/diffusion_pytorch_model.safetensors", 20);
  write_quickly(folder_ / "vae/config.json", "{");
  const auto summary = inspect_model(folder_.path());
  ASSERT_EQ(summary.problems.size(), 2u);
  expect_parts(summary.problems[0], {"unet/diffusion_pytorch_model.safetensors"});
  expect_parts(summary.problems[1], {"vae/config.json:1:"});
}

TEST_F(ModelFolderTest, InspectsATransformersFolder) {
  write_quickly(folder_ / "llm/config.json",
                R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"]})");
  write_float_tensors(folder_ / "llm/model.safetensors", {{"a", {5}}});
  const auto summary = inspect_model(folder_ / "llm");
  EXPECT_EQ(summary.kind, "transformers folder");
  EXPECT_EQ(summary.pipeline_class, "LlamaForCausalLM");
  EXPECT_EQ(summary.parameters(), 5);
}

TEST_F(ModelFolderTest, FindsModels) {
  TemporaryFolder shelf;
  write_model(shelf / "b");
  write_quickly(shelf / "notes/readme.txt", "x");
  write_float_tensors(shelf / "a.safetensors", {{"a", {1}}});
  EXPECT_EQ(find_models(shelf.path()),
            (std::vector<fs::path>{shelf / "a.safetensors", shelf / "b"}));
}

}  // namespace
}  // namespace backlot
