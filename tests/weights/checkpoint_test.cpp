#include "weights/checkpoint.h"

#include <gtest/gtest.h>

#include "support/temporary_folder.h"
#include "weights/safetensors_bytes.h"

namespace backlot {
namespace {

constexpr std::string_view stem = "diffusion_pytorch_model";

class CheckpointTest : public ::testing::Test {
 protected:
  fs::path file(std::string_view name) const { return folder_ / name; }
  void touch(std::string_view name) { write_quickly(file(name), "x"); }
  void write_index(std::string_view name, const Json& weight_map) {
    write_quickly(file(name), Json{{"weight_map", weight_map}}.dump());
  }
  std::string complaint(const std::optional<std::string>& variant = std::nullopt) {
    return load_error([&] { Checkpoint::open(folder_.path(), stem, variant); });
  }

  TemporaryFolder folder_;
};

void expect_parts(const std::string& text, std::initializer_list<std::string_view> parts) {
  for (const auto part : parts) EXPECT_NE(text.find(part), std::string::npos) << text;
}

TEST_F(CheckpointTest, OpensASingleFile) {
  write_float_tensors(file("diffusion_pytorch_model.safetensors"), {{"a.weight", {2, 3}}});
  const auto checkpoint = Checkpoint::open(folder_.path(), stem);
  ASSERT_NE(checkpoint.find("a.weight"), nullptr);
  EXPECT_EQ(checkpoint.find("a.weight")->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(checkpoint.find("a.bias"), nullptr);
  EXPECT_EQ(checkpoint.files(), std::vector<fs::path>{file("diffusion_pytorch_model.safetensors")});
}

TEST_F(CheckpointTest, GathersShardsByTheirIndex) {
  write_float_tensors(file("diffusion_pytorch_model-00001-of-00002.safetensors"), {{"a", {2}}});
  write_float_tensors(file("diffusion_pytorch_model-00002-of-00002.safetensors"), {{"b", {3}}});
  write_index("diffusion_pytorch_model.safetensors.index.json",
              {{"a", "diffusion_pytorch_model-00001-of-00002.safetensors"},
               {"b", "diffusion_pytorch_model-00002-of-00002.safetensors"}});
  const auto checkpoint = Checkpoint::open(folder_.path(), stem);
  EXPECT_EQ(checkpoint.tensors().size(), 2u);
  EXPECT_EQ(checkpoint.files().size(), 2u);
  EXPECT_EQ(checkpoint.find("b")->bytes.size(), 12u);
}

TEST_F(CheckpointTest, FindsAVariantAndItsShards) {
  write_float_tensors(file("diffusion_pytorch_model.safetensors"), {{"plain", {1}}});
  write_float_tensors(file("diffusion_pytorch_model.fp16.safetensors"), {{"half", {1}}});
  EXPECT_TRUE(Checkpoint::open(folder_.path(), stem, "fp16").find("half"));
  EXPECT_TRUE(Checkpoint::open(folder_.path(), stem).find("plain"));
  EXPECT_EQ(Checkpoint::variants(folder_.path(), stem), (std::vector<std::string>{"", "fp16"}));
}

// Both spellings of a variant's index are about.
TEST_F(CheckpointTest, FindsAVariantsIndexUnderBothNames) {
  for (const auto* name : {"diffusion_pytorch_model.safetensors.index.fp16.json",
                           "diffusion_pytorch_model.fp16.safetensors.index.json"}) {
    TemporaryFolder folder;
    const std::string shard = "diffusion_pytorch_model.fp16-00001-of-00001.safetensors";
    write_float_tensors(folder / shard, {{"a", {2}}});
    write_quickly(folder / name, Json{{"weight_map", {{"a", shard}}}}.dump());
    EXPECT_TRUE(Checkpoint::open(folder.path(), stem, "fp16").find("a")) << name;
    EXPECT_EQ(Checkpoint::variants(folder.path(), stem), std::vector<std::string>{"fp16"});
    expect_parts(load_error([&] { Checkpoint::open(folder.path(), stem); }),
                 {"diffusion_pytorch_model.safetensors: missing", "set variant: fp16"});
  }
}

TEST_F(CheckpointTest, SaysWhichVariantThereIs) {
  write_float_tensors(file("diffusion_pytorch_model.fp16.safetensors"), {{"a", {1}}});
  expect_parts(complaint(), {"missing", "variant 'fp16'", "set variant: fp16"});
  expect_parts(complaint("bf16"), {"diffusion_pytorch_model.bf16.safetensors", "fp16"});
}

TEST_F(CheckpointTest, SaysThatAVariantIsNotNeeded) {
  write_float_tensors(file("diffusion_pytorch_model.safetensors"), {{"a", {1}}});
  expect_parts(complaint("fp16"),
               {"diffusion_pytorch_model.fp16.safetensors: missing", "leave `variant` out"});
}

TEST_F(CheckpointTest, NeverReadsAPickle) {
  touch("diffusion_pytorch_model.bin");
  expect_parts(complaint(), {"diffusion_pytorch_model.safetensors: missing",
                             "diffusion_pytorch_model.bin, a pickle", "save_pretrained"});
}

TEST_F(CheckpointTest, SaysWhatTheFolderHas) {
  expect_parts(complaint(), {"the folder is empty", "download"});
  touch("config.json");
  expect_parts(complaint(), {"the folder has only config.json"});
  expect_parts(load_error([&] { Checkpoint::open(file("none"), stem); }), {"none", "cannot read"});
}

TEST_F(CheckpointTest, NamesAMissingShard) {
  write_float_tensors(file("one.safetensors"), {{"a", {2}}});
  write_index("diffusion_pytorch_model.safetensors.index.json",
              {{"a", "one.safetensors"}, {"b", "two.safetensors"}});
  expect_parts(complaint(), {"two.safetensors: missing", "index.json names it"});
}

TEST_F(CheckpointTest, NamesATensorThatItsShardLacks) {
  write_float_tensors(file("one.safetensors"), {{"a", {2}}});
  write_index("diffusion_pytorch_model.safetensors.index.json",
              {{"a", "one.safetensors"}, {"b", "one.safetensors"}});
  expect_parts(complaint(), {"one.safetensors: lacks tensor 'b'"});
}

TEST_F(CheckpointTest, RefusesShardNamesThatLeadElsewhere) {
  for (const auto* shard : {"../one.safetensors", "/etc/passwd", "sub/one.safetensors",
                            "..\\one.safetensors", "one.bin", ""}) {
    write_index("diffusion_pytorch_model.safetensors.index.json", {{"a", shard}});
    expect_parts(complaint(), {"is not the name of a shard"});
  }
}

TEST_F(CheckpointTest, RefusesABrokenIndex) {
  constexpr std::string_view index = "diffusion_pytorch_model.safetensors.index.json";
  const auto complaint_about = [&](std::string_view text) {
    write_quickly(file(index), text);
    return complaint();
  };
  expect_parts(complaint_about("[]"), {"no weight_map"});
  expect_parts(complaint_about(R"({"weight_map":{}})"), {"weight_map is empty"});
  expect_parts(complaint_about(R"({"weight_map":{"a":1}})"), {"not a name"});
  expect_parts(complaint_about("{\n \"weight_map\": {,\n}"), {"index.json:2:17: "});
}

}  // namespace
}  // namespace backlot
