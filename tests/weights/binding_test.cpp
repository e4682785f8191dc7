#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/temporary_folder.h"
#include "weights/safetensors_bytes.h"
#include "weights/weights.h"

namespace backlot {
namespace {

class BindingTest : public ::testing::Test {
 protected:
  Checkpoint write(const std::map<std::string, std::vector<int64_t>>& shapes) {
    write_float_tensors(folder_ / "model.safetensors", shapes);
    return Checkpoint::open(folder_.path(), "model");
  }
  TemporaryFolder folder_;
};

TEST_F(BindingTest, WalksNamesAsTheListingSpellsThem) {
  const auto checkpoint = write({{"blocks.0.norm.weight", {2}}, {"blocks.1.ffn.2.bias", {3}}});
  Binding binding(checkpoint, at::kFloat, at::kCPU);
  const auto blocks = binding.root() / "blocks";
  EXPECT_TRUE(at::equal((blocks / 0 / "norm")("weight", {2}), at::tensor({0.f, 1.f})));
  EXPECT_TRUE(at::equal((blocks / 1 / "ffn.2")("bias", {3}), at::tensor({2.f, 3.f, 4.f})));
  EXPECT_TRUE((blocks / 0).has("norm.weight"));
  EXPECT_FALSE((blocks / 0).has("norm.bias"));
  binding.finish();
}

TEST_F(BindingTest, SaysAllThatDoesNotAgreeAtOnce) {
  const auto checkpoint = write({{"norm.weight", {17}}, {"extra.weight", {1}}});
  Binding binding(checkpoint, at::kFloat, at::kCPU);
  EXPECT_EQ(binding.root()("norm.weight", {16}).sizes(), at::IntArrayRef({16}));
  EXPECT_EQ(binding.root()("ffn.bias", {2, 3}).sizes(), at::IntArrayRef({2, 3}));
  const auto text = load_error([&] { binding.finish(); });
  EXPECT_NE(text.find("model.safetensors: 3 tensors do not match the model: "
                      "1 of another shape (norm.weight is [17], expected [16]); "
                      "1 missing (ffn.bias [2, 3]); 1 unused (extra.weight); "),
            std::string::npos)
      << text;
}

TEST_F(BindingTest, ListsTheFirstFewOfManyWithTheCount) {
  const auto checkpoint = write({});
  Binding binding(checkpoint, at::kFloat, at::kCPU);
  for (int i = 0; i < 20; ++i) (binding.root() / "layers" / i)("weight", {int64_t{1} << 40});
  const auto text = load_error([&] { binding.finish(); });
  EXPECT_NE(text.find("20 missing (layers.0.weight"), std::string::npos) << text;
  EXPECT_NE(text.find("layers.7.weight [1099511627776], and 12 more)"), std::string::npos) << text;
}

TEST_F(BindingTest, LeavesOutWhatTheModelSkips) {
  const auto checkpoint = write({{"position_ids", {77}}});
  Binding binding(checkpoint, at::kFloat, at::kCPU);
  binding.root().skip("position_ids");
  binding.root().skip("not_there");
  EXPECT_EQ(load_error([&] { binding.finish(); }), "");
}

TEST_F(BindingTest, ViewsTheMappingWhichOutlivesTheCheckpoint) {
  at::Tensor tensor;
  const void* mapped = nullptr;
  {
    const auto checkpoint = write({{"a", {1000}}});
    mapped = checkpoint.find("a")->bytes.data();
    tensor = Binding(checkpoint, at::kFloat, at::kCPU).root()("a", {1000});
  }
  EXPECT_EQ(tensor.data_ptr(), mapped);
  EXPECT_EQ(tensor[999].item<float>(), 999);
}

TEST_F(BindingTest, ConvertsToAnotherDtype) {
  const auto checkpoint = write({{"a", {4}}});
  const auto tensor = Binding(checkpoint, at::kBFloat16, at::kCPU).root()("a", {4});
  EXPECT_EQ(tensor.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(at::equal(tensor.to(at::kFloat), at::arange(4, at::kFloat)));
}

TEST_F(BindingTest, ReadsEveryFloatingDtype) {
  std::string buffer;
  Json header = Json::object();
  const auto add = [&](const char* name, const char* dtype, std::string_view bytes) {
    header[name] = {{"dtype", dtype},
                    {"shape", {1}},
                    {"data_offsets", {buffer.size(), buffer.size() + bytes.size()}}};
    buffer += bytes;
  };
  // 1.5 in each. The last but one stands at an odd place.
  add("double", "F64", std::string_view("\0\0\0\0\0\0\xf8\x3f", 8));
  add("half", "F16", std::string_view("\x00\x3e", 2));
  add("brain", "BF16", std::string_view("\xc0\x3f", 2));
  add("e4m3", "F8_E4M3", std::string_view("\x3c", 1));
  add("single", "F32", std::string_view("\x00\x00\xc0\x3f", 4));
  add("e5m2", "F8_E5M2", std::string_view("\x3e", 1));
  write_quickly(folder_ / "model.safetensors", safetensors_bytes(header.dump(), buffer));
  const auto checkpoint = Checkpoint::open(folder_.path(), "model");
  Binding binding(checkpoint, at::kFloat, at::kCPU);
  for (const auto* name : {"double", "half", "brain", "e4m3", "single", "e5m2"})
    EXPECT_EQ(binding.root()(name, {1}).item<float>(), 1.5f) << name;
  binding.finish();
}

TEST_F(BindingTest, RefusesIntegersAsWeights) {
  write_quickly(
      folder_ / "model.safetensors",
      safetensors_bytes(R"({"a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]}})", "xx"));
  const auto checkpoint = Checkpoint::open(folder_.path(), "model");
  Binding binding(checkpoint, at::kFloat, at::kCPU);
  binding.root()("a", {2});
  EXPECT_NE(load_error([&] { binding.finish(); }).find("a holds I8"), std::string::npos);
}

TEST_F(BindingTest, TurnsATransposedMatrix) {
  const auto plain = write({{"a", {2, 3}}});
  auto tensors = plain.tensors();
  tensors.at("a").shape = {3, 2};
  tensors.at("a").transposed = true;
  const auto checkpoint = plain.with_tensors(tensors);
  const auto tensor = Binding(checkpoint, at::kFloat, at::kCPU).root()("a", {3, 2});
  EXPECT_TRUE(tensor.is_contiguous());
  EXPECT_TRUE(at::equal(tensor, at::arange(6, at::kFloat).view({2, 3}).t()));
}

TEST_F(BindingTest, BindsScalarsAndEmptyTensors) {
  const auto checkpoint = write({{"scalar", {}}, {"empty", {0, 3}}});
  Binding binding(checkpoint, at::kFloat, at::kCPU);
  EXPECT_EQ(binding.root()("scalar", {}).item<float>(), 0);
  EXPECT_EQ(binding.root()("empty", {0, 3}).numel(), 0);
  binding.finish();
}

// A listing binds without bytes behind it.
TEST(Binding, BindsShapesAloneOnTheMetaDevice) {
  TensorView view{.dtype = DType::f16, .shape = {1 << 20, 1 << 20}};
  const Checkpoint checkpoint("listing", {}, {{"a", view}});
  Binding binding(checkpoint, at::kFloat, at::kMeta);
  EXPECT_EQ(binding.root()("a", {1 << 20, 1 << 20}).numel(), int64_t{1} << 40);
  binding.finish();
}

}  // namespace
}  // namespace backlot
