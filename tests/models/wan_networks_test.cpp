// Wan's networks against recorded inputs and outputs of diffusers and transformers.
#include <ATen/ATen.h>
#include <c10/core/Allocator.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "models/autoencoder_kl_wan.h"
#include "models/umt5_encoder.h"
#include "models/wan_transformer_3d.h"
#include "support/read_safetensors.h"

namespace backlot {
namespace {

const std::string oracles = BACKLOT_TEST_DATA "/oracles/";

Json json_file(const std::string& path) { return Json::parse(read_file(path)); }

double largest_difference(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  return (a - b).abs().max().item<double>();
}

AutoencoderKLWan load_vae(const std::string& folder) {
  return load<AutoencoderKLWan>(
      Checkpoint::open(folder + "/vae", "diffusion_pytorch_model"),
      read_autoencoder_kl_wan_config(json_file(folder + "/vae/config.json"), "vae"), at::kFloat,
      at::kCPU);
}

WanTransformer3DModel load_transformer(const std::string& folder) {
  return load<WanTransformer3DModel>(
      Checkpoint::open(folder, "diffusion_pytorch_model"),
      read_wan_transformer_3d_config(json_file(folder + "/config.json"), "transformer"), at::kFloat,
      at::kCPU);
}

Tensor decode(const AutoencoderKLWan& vae, const Tensor& z, const WanDecodeOptions& options = {}) {
  std::vector<Tensor> frames;
  vae.decode(
      z, [&](const Tensor& some) { frames.push_back(some); }, options);
  return at::cat(frames, 2);
}

class WanNetworks : public ::testing::TestWithParam<std::string> {
 protected:
  std::string folder() const { return oracles + GetParam() + "/"; }
  Json facts = json_file(folder() + "case.json");
  std::string model() const { return folder() + facts["model"].get<std::string>(); }
  double tolerance(const std::string& key) const {
    return facts["tolerance"]["tensor_max_abs"][key];
  }
  std::map<std::string, Tensor> recorded =
      read_safetensors(folder() + "expected/tensors.safetensors");
  c10::InferenceMode inference;
};

// The record's input_ids are those of the prompt before it is cleaned; the embeddings are of these.
const std::vector<int64_t> fox = {
    57, 128, 10, 3,   23, 19, 90, 3,   2,  196, 14, 20,  409, 57,  3,  23, 145, 188, 71,
    3,  38,  17, 141, 11, 3,  35, 131, 10, 71,  3,  44,  285, 11,  3,  37, 67,  18,  18,
    3,  14,  44, 19,  6,  19, 3,  2,   3,  4,   25, 168, 107, 227, 19, 6,  127, 47,  1};
const std::vector<int64_t> negative = {3, 293, 85, 11, 3, 41, 24, 150, 38,  36, 11, 3,
                                       2, 75,  89, 2,  3, 54, 6,  122, 134, 6,  4,  1};

TEST_P(WanNetworks, TextEncoderGivesTheRecordedEmbeddings) {
  const auto encoder = load<UMT5Encoder>(
      Checkpoint::open(model() + "/text_encoder", "model"),
      read_umt5_config(json_file(model() + "/text_encoder/config.json"), "text_encoder"),
      at::kFloat, at::kCPU);
  const auto length = facts["job"]["max_sequence_length"].get<int64_t>();
  const bool guided = recorded.contains("negative_prompt_embeds");
  auto tokens = guided ? at::tensor(fox) : recorded.at("input_ids");
  if (tokens.size(0) > length) {  // cut, with the end token in the last place
    tokens = at::cat({tokens.narrow(0, 0, length - 1), tokens.narrow(0, tokens.size(0) - 1, 1)});
  }
  const auto padded = [&](const Tensor& x) {
    return at::constant_pad_nd(x, {0, length - x.size(0)}).unsqueeze(0);
  };
  const auto ids = padded(tokens), mask = padded(at::ones_like(tokens));
  const auto& expected = recorded.at("prompt_embeds");
  EXPECT_LE(largest_difference(encoder.encode(ids, mask), expected), tolerance("prompt_embeds"));

  // Beside a shorter text, whose padding it must not look at, nor the other way round.
  const auto brief = at::tensor(negative);
  const auto both =
      encoder.encode(at::cat({padded(brief), ids}), at::cat({padded(at::ones_like(brief)), mask}));
  EXPECT_LE(largest_difference(both[1], expected[0]), tolerance("prompt_embeds"));
  const auto alone = encoder.encode(padded(brief), padded(at::ones_like(brief)));
  EXPECT_LE(largest_difference(both[0], alone[0]), tolerance("prompt_embeds"));
  const auto behind = both[0].narrow(0, brief.size(0), length - brief.size(0));
  EXPECT_TRUE(behind.eq(0).all().item<bool>());
  if (guided) {
    EXPECT_LE(largest_difference(alone, recorded.at("negative_prompt_embeds")),
              tolerance("negative_prompt_embeds"));
  }
}

TEST_P(WanNetworks, TransformerGivesTheRecordedOutputs) {
  const auto transformer = load_transformer(model() + "/transformer");
  const bool guided = recorded.contains("negative_prompt_embeds");
  std::vector<Tensor> latents, times, texts;
  for (const std::string call : {"00", "01"}) {
    const bool negative = guided && call == "01";
    latents.push_back(recorded.at("denoiser.in." + call));
    times.push_back(recorded.at("denoiser.timestep." + call).to(at::kFloat));
    texts.push_back(recorded.at(negative ? "negative_prompt_embeds" : "prompt_embeds"));
    const auto out = transformer(latents.back(), times.back(), transformer.condition(texts.back()));
    EXPECT_LE(largest_difference(out, recorded.at("denoiser.out." + call)),
              tolerance("denoiser.out." + call));
  }
  // Both in one batch, each with its own time and text.
  const auto out =
      transformer(at::cat(latents), at::cat(times), transformer.condition(at::cat(texts)));
  for (const int call : {0, 1}) {
    const auto key = "denoiser.out.0" + std::to_string(call);
    EXPECT_LE(largest_difference(out.narrow(0, call, 1), recorded.at(key)), tolerance(key));
  }
}

TEST_P(WanNetworks, DecoderGivesTheRecordedFrames) {
  const auto vae = load_vae(model());
  const auto& z = recorded.at("vae.decode_in");
  const auto& expected = recorded.at("vae.decode_out");
  std::vector<int64_t> counts;
  int64_t at = 0, paused = 0;
  vae.decode(z,
             [&](const Tensor& frames) {
               counts.push_back(frames.size(2));
               EXPECT_LE(largest_difference(frames, expected.narrow(2, at, frames.size(2))),
                         tolerance("vae.decode_out"));
               at += frames.size(2);
             },
             {.between = [&] { ++paused; }});
  std::vector<int64_t> wanted(z.size(2), 4);
  wanted[0] = 1;
  EXPECT_EQ(counts, wanted);
  EXPECT_EQ(paused, z.size(2));
  EXPECT_EQ(vae.config().frames(z.size(2)), expected.size(2));
  EXPECT_EQ(vae.config().latent_frames(expected.size(2)), z.size(2));
  // No larger than a tile: the same numbers.
  EXPECT_TRUE(decode(vae, z, {.tiled = true}).equal(decode(vae, z)));
}

TEST_P(WanNetworks, LatentsAreScaledAsRecorded) {
  const auto vae = load_vae(model());
  const auto last = std::max_element(recorded.begin(), recorded.end(), [](auto& a, auto& b) {
    const auto step = [](const std::string& name) {
      return name.starts_with("latents.step_") ? name : std::string();
    };
    return step(a.first) < step(b.first);
  });
  const auto& z = recorded.at("vae.decode_in");
  EXPECT_LE(largest_difference(vae.unscale(last->second), z), 1e-6 * z.abs().max().item<double>());
  EXPECT_LE(largest_difference(vae.scale(vae.unscale(last->second)), last->second), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Oracles, WanNetworks,
                         ::testing::Values("wan-t2v", "wan-t2v-floweuler", "wan22-t2v"),
                         [](const auto& info) {
                           auto name = info.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

// scripts/make_wan_references.py
class WanReferences : public ::testing::Test {
 protected:
  const std::string folder = oracles + "wan-networks/";
  const std::map<std::string, Tensor> recorded = read_safetensors(folder + "tensors.safetensors");
  const Json tolerance = json_file(folder + "tolerance.json");
  double bound(const std::string& key) const { return tolerance[key]; }
  c10::InferenceMode inference;
};

TEST_F(WanReferences, EncoderGivesTheRecordedLatents) {
  const auto vae = load_vae(oracles + "wan-t2v/model");
  const auto& clip = recorded.at("clip");
  EXPECT_LE(largest_difference(vae.encode(clip), recorded.at("encoded")), bound("encoded"));
  EXPECT_LE(largest_difference(vae.encode(clip.narrow(2, 0, 1)), recorded.at("encoded.1")),
            bound("encoded.1"));
  EXPECT_ANY_THROW(vae.encode(clip.narrow(2, 0, 4)));
}

TEST_F(WanReferences, TilesAreBlendedAsRecorded) {
  const auto vae = load_vae(oracles + "wan-t2v/model");
  const auto cut = [](const Tensor& clip) {
    const auto frames = at::stack({clip.select(2, 0), clip.select(2, 4)}, 2);
    return frames.slice(3, 200, 248).slice(4, 200, 248);
  };
  const auto& z = recorded.at("large.z");
  int64_t paused = 0;
  const auto tiled = cut(decode(vae, z, {.tiled = true, .between = [&] { ++paused; }}));
  EXPECT_LE(largest_difference(tiled, recorded.at("large.tiled")), bound("large.tiled"));
  EXPECT_EQ(paused, 4 * 2);
  const auto whole = cut(decode(vae, z));
  EXPECT_LE(largest_difference(whole, recorded.at("large.whole")), bound("large.whole"));
  EXPECT_GT(largest_difference(whole, tiled), 10 * bound("large.tiled"));
}

TEST_F(WanReferences, TransformerOfOtherSettingsGivesTheRecordedOutput) {
  const auto transformer = load_transformer(folder + "transformer");
  const auto conditioning = transformer.condition(recorded.at("other.text"));
  const auto out =
      transformer(recorded.at("other.latents"), recorded.at("other.timestep"), conditioning);
  EXPECT_LE(largest_difference(out, recorded.at("other.out")), bound("other.out"));

  // Another grid in between changes nothing.
  transformer(at::zeros({2, 4, 2, 4, 3}), recorded.at("other.timestep"), conditioning);
  EXPECT_TRUE(out.equal(
      transformer(recorded.at("other.latents"), recorded.at("other.timestep"), conditioning)));
  EXPECT_THROW(
      transformer(at::zeros({2, 4, 2, 4, 33}), recorded.at("other.timestep"), conditioning),
      ItemError);
}

// In sizes that our own kernels take: half the digits, the same picture.
double relative_difference(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  const auto wide = b.to(at::kDouble);
  return ((a.to(at::kDouble) - wide).norm() / wide.norm()).item<double>();
}

// A transformer of 3 blocks, and what it is given.
struct SmallTransformer {
  explicit SmallTransformer(at::ScalarType dtype) {
    WanTransformer3DConfig config;
    config.num_attention_heads = 2;
    config.attention_head_dim = 32;
    config.text_dim = 32;
    config.freq_dim = 32;
    config.ffn_dim = 96;
    config.num_layers = 3;
    model.emplace(
        load<WanTransformer3DModel>(RandomWeights("transformer"), config, dtype, at::kCPU));
    at::manual_seed(7);
    latents = at::randn({1, 16, 2, 6, 4});
    text.emplace(model->condition(at::randn({1, 5, 32})));
  }
  Tensor operator()(double time, const Tensor& x, WanStepCache* cache = nullptr) const {
    return (*model)(x, at::tensor({time}), *text, cache);
  }
  std::optional<WanTransformer3DModel> model;
  Tensor latents;
  std::optional<WanConditioning> text;
};

TEST(WanStepCaches, TakeTheOtherBlocksFromAnEarlierStep) {
  const c10::InferenceMode inference;
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const SmallTransformer run(dtype);
    const double rounding = dtype == at::kFloat ? 1e-5 : 0.03;
    const auto whole = run(900, run.latents);
    WanStepCache cache;
    cache.threshold = 0.1;
    EXPECT_LT(relative_difference(run(900, run.latents, &cache), whole), rounding);
    EXPECT_FALSE(cache.reused) << "there was nothing to reuse";
    EXPECT_LT(relative_difference(run(900, run.latents, &cache), whole), rounding);
    EXPECT_TRUE(cache.reused);
    // Of the first block and the ends all is done again.
    const auto near = run.latents + 0.01 * at::randn_like(run.latents);
    const auto reusing = run(895, near, &cache);
    EXPECT_TRUE(cache.reused);
    EXPECT_GT(relative_difference(reusing, whole), 1e-4);
    EXPECT_LT(relative_difference(reusing, run(895, near)), 0.1);
    // What was reused is still that of the first evaluation.
    const auto first = cache.first.clone();
    run(890, near, &cache);
    EXPECT_TRUE(first.equal(cache.first));

    const auto far = at::randn_like(run.latents);
    EXPECT_LT(relative_difference(run(100, far, &cache), run(100, far)), rounding);
    EXPECT_FALSE(cache.reused);
    cache.must_run = true;
    run(100, far, &cache);
    EXPECT_FALSE(cache.reused);
    cache.must_run = false;
    const auto larger = at::randn({1, 16, 2, 6, 6});
    cache.threshold = 100;
    EXPECT_LT(relative_difference(run(100, larger, &cache), run(100, larger)), rounding)
        << "of another clip";
  }
}

// Bytes that tensors on the CPU take, by what LibTorch's allocator reports.
class TensorBytes : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void*, int64_t bytes, size_t, size_t, c10::Device) override {
    held_ += bytes;
    peak_ = std::max(peak_, held_);
  }
  bool memoryProfilingEnabled() const override { return true; }
  int64_t peak() const { return peak_; }

 private:
  int64_t held_ = 0, peak_ = 0;
};

TEST(WanDecoding, TakesNoMoreMemoryForALongerClip) {
  const c10::InferenceMode inference;
  AutoencoderKLWanConfig config;
  config.base_dim = config.decoder_base_dim = 16;
  config.num_res_blocks = 1;
  config.latents_mean = std::vector<double>(16, 0.0);
  config.latents_std = std::vector<double>(16, 1.0);
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const auto vae = load<AutoencoderKLWan>(RandomWeights("vae"), config, dtype, at::kCPU);
    const auto peak = [&](int64_t frames) {
      const auto z = at::zeros({1, 16, vae.config().latent_frames(frames), 6, 8});
      const auto bytes = std::make_shared<TensorBytes>();
      const c10::DebugInfoGuard counting(c10::DebugInfoKind::PROFILER_STATE, bytes);
      int64_t seen = 0;
      vae.decode(z, [&](const Tensor& some) { seen += some.size(2); });
      EXPECT_EQ(seen, frames);
      return bytes->peak();
    };
    const int64_t shorter = peak(41);
    EXPECT_GT(shorter, 48 * 64 * 3) << "something was counted";
    EXPECT_LE(peak(81), shorter + shorter / 10);
  }
}

TEST(WanInBfloat16, TransformerStaysNearFloat32) {
  const c10::InferenceMode inference;
  WanTransformer3DConfig config;
  config.num_attention_heads = 4;
  config.attention_head_dim = 32;
  config.text_dim = 64;
  config.freq_dim = 64;
  config.ffn_dim = 320;
  config.num_layers = 3;
  at::manual_seed(5);
  const auto latents = at::randn({2, 16, 3, 10, 14}), text = at::randn({2, 21, 64});
  const auto times = at::tensor({900.0, 300.0});
  const auto run = [&](at::ScalarType dtype) {
    const auto model =
        load<WanTransformer3DModel>(RandomWeights("transformer"), config, dtype, at::kCPU);
    EXPECT_EQ(model.dtype(), dtype);
    const auto out = model(latents, times, model.condition(text));
    EXPECT_EQ(out.scalar_type(), dtype);
    return out;
  };
  EXPECT_LT(relative_difference(run(at::kBFloat16), run(at::kFloat)), 0.02);
}

TEST(WanInBfloat16, AutoencoderStaysNearFloat32) {
  const c10::InferenceMode inference;
  AutoencoderKLWanConfig config;
  config.base_dim = config.decoder_base_dim = 32;
  config.num_res_blocks = 1;
  config.latents_mean = std::vector<double>(16, 0.0);
  config.latents_std = std::vector<double>(16, 1.0);
  at::manual_seed(6);
  const auto z = at::randn({1, 16, 3, 5, 7}), clip = at::rand({1, 3, 5, 40, 24}) * 2 - 1;
  const auto run = [&](at::ScalarType dtype) {
    const auto vae = load<AutoencoderKLWan>(RandomWeights("vae"), config, dtype, at::kCPU);
    EXPECT_EQ(vae.dtype(), dtype);
    return std::pair(decode(vae, z), vae.encode(clip));
  };
  const auto narrow = run(at::kBFloat16), wide = run(at::kFloat);
  EXPECT_LT(relative_difference(narrow.first, wide.first), 0.03);
  EXPECT_LT(relative_difference(narrow.second, wide.second), 0.03);
}

TEST(WanInBfloat16, TextEncoderStaysNearFloat32) {
  const c10::InferenceMode inference;
  UMT5Config config;
  config.vocab_size = 100;
  config.d_model = 64;
  config.d_kv = 16;
  config.d_ff = 96;
  config.num_layers = 2;
  config.num_heads = 4;
  const auto ids = at::arange(40).view({2, 20}) + 1;
  const auto run = [&](at::ScalarType dtype) {
    return load<UMT5Encoder>(RandomWeights("text_encoder"), config, dtype, at::kCPU)
        .encode(ids, at::ones_like(ids));
  };
  const auto wide = run(at::kFloat);
  EXPECT_LT(relative_difference(run(at::kBFloat16), wide), 0.03);
  EXPECT_LT(relative_difference(run(at::kHalf), wide), 0.005);
}

}  // namespace
}  // namespace backlot
