// Prompts as tensors: what the reference records, long prompts, weights, and the memory of texts.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "pipelines/oracle_case.h"
#include "support/read_safetensors.h"

namespace backlot {
namespace {

class Prompts : public ::testing::Test {
 protected:
  // eos: what the configs say in place of the 2 of early exports.
  static TextEncoder encoder(const std::string& number, ClipHead head,
                             std::optional<int64_t> eos = std::nullopt) {
    const auto model = oracles() + "/sdxl-base/model/";
    auto json = Json::parse(read_file(model + "text_encoder" + number + "/config.json"));
    if (eos) json["eos_token_id"] = *eos;
    const auto config = read_clip_text_config(json, "te", head);
    const auto read = [config, folder = model + "text_encoder" + number] {
      return load<CLIPTextModel>(Checkpoint::open(folder, "model"), config, at::kFloat, at::kCPU);
    };
    return TextEncoder(ClipTokenizer::load(model + "tokenizer" + number), config, read, at::kCPU);
  }
  static PromptEncoder encoders(NullNegative null_negative = NullNegative::zeros,
                                std::optional<int64_t> eos = std::nullopt) {
    return PromptEncoder(encoder("", ClipHead::none, eos), encoder("_2", ClipHead::projection, eos),
                         null_negative, TextEncoders::held);
  }
  static EncodedPrompt encode(const ImageRequest& request) {
    return encoders().encode({&request, 1}).front();
  }
  static std::string long_text() {
    std::string text = "a red fox";
    for (int i = 0; i < 40; ++i) text += ", jumping over a frozen river";
    return text;
  }

  c10::InferenceMode inference;
};

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  return (a - b).abs().max().item<double>();
}

TEST_F(Prompts, AreWhatTheReferenceRecorded) {
  const auto recorded = read_safetensors(oracles() + "/sdxl-base/expected/tensors.safetensors");
  const auto info = oracle_json("sdxl-base");
  const auto limits = info.at("tolerance").at("tensor_max_abs");
  const auto prompt = encode(oracle_requests(info.at("job")).front());
  const auto near = [&](const at::Tensor& made, const char* key) {
    EXPECT_LE(largest_difference(made.unsqueeze(0), recorded.at(key)), limits.at(key).get<double>())
        << key;
  };
  near(prompt.positive, "prompt_embeds");
  near(prompt.negative, "negative_prompt_embeds");
  near(prompt.positive_pooled, "pooled_prompt_embeds");
  near(prompt.negative_pooled, "negative_pooled_prompt_embeds");
}

// An eos_token_id of 2 stands for the largest token, any other for itself: the first of either is
// the same place.
TEST_F(Prompts, ConfigsThatNameTheTrueEndTokenPoolTheSame) {
  const auto vocabulary =
      Json::parse(read_file(oracles() + "/sdxl-base/model/tokenizer_2/vocab.json"));
  const ImageRequest request{.prompt = "a red fox"};
  const auto named = encoders(NullNegative::zeros, vocabulary.at("<|endoftext|>").get<int64_t>())
                         .encode({&request, 1});
  EXPECT_TRUE(named[0].positive_pooled.equal(encode(request).positive_pooled));
  const auto other = encoders(NullNegative::zeros, vocabulary.at("<|startoftext|>").get<int64_t>())
                         .encode({&request, 1});
  EXPECT_FALSE(other[0].positive_pooled.equal(encode(request).positive_pooled));
}

TEST_F(Prompts, NullNegativeIsZerosOnlyWhereTheModelSaysSo) {
  const ImageRequest request{.prompt = "a fox"};
  EXPECT_EQ(
      encoders(NullNegative::zeros).encode({&request, 1})[0].negative.abs().max().item<float>(), 0);
  auto empty = request;
  empty.negative_prompt = "";
  const auto as_text = encoders(NullNegative::empty_text).encode({&request, 1})[0];
  EXPECT_TRUE(as_text.negative.equal(encode(empty).negative));
}

TEST_F(Prompts, TruncationIsTold) {
  const auto prompt = encode({.prompt = long_text()});
  EXPECT_EQ(prompt.positive.size(0), 77);
  ASSERT_EQ(prompt.warnings.size(), 1u);
  EXPECT_NE(prompt.warnings[0].find("prompt truncated to 77 tokens"), std::string::npos);
  EXPECT_NE(prompt.warnings[0].find("river"), std::string::npos);
}

TEST_F(Prompts, LongPromptsGrowByChunksAndTheNegativeIsFilledUp) {
  const auto prompt =
      encode({.prompt = long_text(), .negative_prompt = "blurry", .chunk_long_prompts = true});
  EXPECT_TRUE(prompt.warnings.empty());
  ASSERT_GT(prompt.positive.size(0), 77);
  EXPECT_EQ(prompt.positive.size(0) % 77, 0);
  ASSERT_EQ(prompt.negative.sizes(), prompt.positive.sizes());
  const auto empty = encode({.prompt = ""});
  EXPECT_LE(largest_difference(prompt.negative.narrow(0, 77, 77), empty.positive), 1e-5);
  const auto alone = encode({.prompt = "blurry"});
  EXPECT_LE(largest_difference(prompt.negative.narrow(0, 0, 77), alone.positive), 1e-5);
}

TEST_F(Prompts, WeightsChangeTheHiddenStatesAndKeepTheirMean) {
  const auto plain = encode({.prompt = "a red fox", .prompt_weighting = true});
  const auto weighted = encode({.prompt = "a (red:1.5) fox", .prompt_weighting = true});
  EXPECT_GT(largest_difference(plain.positive, weighted.positive), 1e-2);
  // Each encoder's half keeps its own mean; both are 32 wide.
  for (const int64_t half : {0, 1}) {
    EXPECT_NEAR(plain.positive.narrow(1, 32 * half, 32).mean().item<double>(),
                weighted.positive.narrow(1, 32 * half, 32).mean().item<double>(), 1e-5);
  }
}

TEST_F(Prompts, BatchesAndMemoryDoNotChangeAnEncoding) {
  auto shared = encoders();
  std::vector<ImageRequest> requests;
  for (int i = 0; i < 400; ++i) requests.push_back({.prompt = "a fox number " + std::to_string(i)});
  const auto together = shared.encode(requests);
  for (const size_t i : {0, 1, 31, 32, 399}) {
    const auto again = shared.encode({&requests[i], 1}).front();
    EXPECT_LE(largest_difference(together[i].positive, encode(requests[i]).positive), 1e-5);
    EXPECT_LE(largest_difference(again.positive, together[i].positive), 1e-5);
  }
}

TEST_F(Prompts, ClipSkipBeyondTheLayersIsAnItemError) {
  EXPECT_THROW(encode({.prompt = "a fox", .clip_skip = 3}), ItemError);
  EXPECT_THROW(encode({.prompt = "a fox", .clip_skip = -1}), ItemError);
}

}  // namespace
}  // namespace backlot
