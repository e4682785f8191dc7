// Whole clips against the reference's, within 1/255 a channel and step by step; and what the
// pipeline makes of checkpoints, stops and memory.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "media/picture_io.h"
#include "pipelines/wan_clips.h"
#include "pipelines/wan_pipeline.h"
#include "support/read_safetensors.h"

namespace backlot {
namespace {

class WanOracle : public ::testing::TestWithParam<const char*> {};

TEST_P(WanOracle, GivesTheRecordedFrames) {
  const std::string folder = oracles() + "/" + GetParam();
  const auto recorded = oracle_json(GetParam());
  const auto tensors = read_safetensors(folder + "/expected/tensors.safetensors");
  const auto& tolerance = recorded.at("tolerance").at("tensor_max_abs");
  const auto pipeline = load(GetParam());
  int64_t seen = 0;
  dynamic_cast<WanPipeline&>(*pipeline).observe_latents(
      [&](int64_t call, const at::Tensor& latents) {
        const auto key = fmt::format("latents.step_{:02}", call);
        ++seen;
        EXPECT_LE((latents - tensors.at(key)).abs().max().item<double>(),
                  tolerance.at(key).get<double>())
            << key;
      });
  const auto made = make(*pipeline, request_of(recorded.at("job")));
  EXPECT_EQ(seen, recorded.at("job").at("steps"));
  const auto& images = recorded.at("expected").at("images");
  ASSERT_EQ(made.frames.size(), images.size());
  EXPECT_EQ(made.result.frames, std::ssize(images));
  for (size_t i = 0; i < images.size(); ++i) {
    const Picture expected =
        decode_picture(folder + "/expected/" + images[i].get<std::string>()).picture;
    ASSERT_EQ(made.frames[i].rgb.size(), expected.rgb.size());
    int largest = 0;
    size_t equal = 0;
    for (size_t j = 0; j < expected.rgb.size(); ++j) {
      largest = std::max(largest, std::abs(int(made.frames[i].rgb[j]) - int(expected.rgb[j])));
      equal += made.frames[i].rgb[j] == expected.rgb[j];
    }
    EXPECT_LE(largest, 1) << i;
    EXPECT_GT(equal, expected.rgb.size() * 99 / 100) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, WanOracle,
                         ::testing::Values("wan-t2v", "wan-t2v-floweuler", "wan22-t2v"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

// Every sampler of flows that a job may ask for, with what it remembers and draws.
class WanResume : public ::testing::TestWithParam<const char*> {};

TEST_P(WanResume, GivesTheSameBytesFromEveryStep) {
  const auto pipeline = load("wan-t2v");
  VideoRequest request = small_request();
  request.scheduler = Json::parse(GetParam());
  EXPECT_GE(expect_same_from_every_step(*pipeline, request).second.size(), 3u);
}

INSTANTIATE_TEST_SUITE_P(
    Samplers, WanResume,
    ::testing::Values(
        "null", R"("dpmpp_2m")",
        R"({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0, "stochastic_sampling": true})",
        R"({"_class_name": "FlowMatchHeunDiscreteScheduler", "shift": 3.0})",
        R"({"_class_name": "UniPCMultistepScheduler", "prediction_type": "flow_prediction",
            "use_flow_sigmas": true, "flow_shift": 5.0, "solver_order": 3})"));

TEST(WanStepCaching, SkipsAllButTheFirstAndTheLastStepAtMost) {
  const auto pipeline = load("wan-t2v");
  VideoRequest request = small_request();
  const Made whole = make(*pipeline, request);
  EXPECT_EQ(whole.result.skipped_evaluations, 0);
  request.step_cache = 1e-9;
  EXPECT_EQ(make(*pipeline, request).result.skipped_evaluations, 0);
  request.step_cache = 10;
  const Made most = make(*pipeline, request);
  EXPECT_EQ(most.result.skipped_evaluations, 2 * (request.steps - 2));
  EXPECT_EQ(most.result.evaluations, 2 * request.steps);
  EXPECT_FALSE(same(most, whole));
  EXPECT_TRUE(same(make(*pipeline, request), most));
  request.guidance_scale = 1;
  EXPECT_EQ(make(*pipeline, request).result.skipped_evaluations, request.steps - 2);
  request.step_cache = -1;
  EXPECT_THROW(make(*pipeline, request), ItemError);
}

// With two transformers the second begins with nothing to reuse; thresholds that some steps pass.
TEST(WanStepCaching, GivesTheSameBytesFromEveryStep) {
  for (const auto& [name, threshold] :
       {std::pair("wan-t2v", 10.0), {"wan-t2v", 0.6}, {"wan22-t2v", 10.0}}) {
    const auto pipeline = load(name);
    VideoRequest request = request_of(oracle_json(name).at("job"));
    request.frames = 5;
    request.steps = 6;
    request.step_cache = threshold;
    SCOPED_TRACE(name);
    const auto [whole, kept] = expect_same_from_every_step(*pipeline, request);
    EXPECT_GT(whole.result.skipped_evaluations, 0);
    ASSERT_EQ(kept.size(), 5u);
    // Of another clip.
    request.step_cache = 0;
    VideoCheckpoints resuming;
    resuming.resume_from = kept[1];
    EXPECT_EQ(make(*pipeline, request, resuming).result.resumed_from, 0);
  }
}

TEST(Wan, BeginsAnewWhereACheckpointDoesNotFit) {
  const auto pipeline = load("wan-t2v");
  VideoRequest request = small_request();
  std::string kept;
  VideoCheckpoints keeping;
  keeping.due = [](int64_t done, int64_t) { return done == 2; };
  keeping.keep = [&](std::string blob) { kept = std::move(blob); };
  const Made whole = make(*pipeline, request, keeping);
  VideoCheckpoints resuming;
  const auto expect_anew = [&](std::string blob, const VideoRequest& asked) {
    resuming.resume_from = std::move(blob);
    const Made made = make(*pipeline, asked, resuming);
    EXPECT_EQ(made.result.resumed_from, 0);
    EXPECT_EQ(made.result.warnings.size(), 1u);
    return made;
  };
  std::string damaged = kept;
  damaged[damaged.size() / 2] ^= 1;
  EXPECT_TRUE(same(expect_anew(damaged, request), whole));
  EXPECT_TRUE(same(expect_anew(kept.substr(0, kept.size() / 2), request), whole));
  EXPECT_TRUE(same(expect_anew("nonsense", request), whole));
  VideoRequest other = request;
  other.seed += 1;
  EXPECT_FALSE(same(expect_anew(kept, other), whole));
}

TEST(Wan, KeepsWhatThereIsWhenItIsStopped) {
  const auto pipeline = load("wan22-t2v");
  expect_goes_on_where_stopped(*pipeline, request_of(oracle_json("wan22-t2v").at("job")), 4);
}

TEST(Wan, GivesTheSameFramesWhereverTheTextEncoderIs) {
  const auto held = load("wan-t2v"), out = load("wan-t2v", TextEncoderPlace::while_encoding);
  EXPECT_EQ(out->text_encoder(), TextEncoderPlace::while_encoding);
  const VideoRequest request = small_request();
  const Made made = make(*held, request);
  EXPECT_TRUE(same(make(*out, request), made));
  EXPECT_TRUE(held->move_text_encoder(TextEncoderPlace::while_encoding));
  EXPECT_FALSE(held->move_text_encoder(TextEncoderPlace::held)) << "that takes more";
  VideoRequest other = request;
  other.prompt = "a banana";
  EXPECT_FALSE(same(make(*held, other), made));
  EXPECT_TRUE(same(make(*held, request), made));
}

TEST(Wan, RoundsFramesAsTheReferenceDoes) {
  const auto pipeline = load("wan-t2v");
  VideoRequest request = small_request();
  request.steps = 1;
  for (const auto& [asked, given] : {std::pair(4, 5), std::pair(7, 5), std::pair(3, 1)}) {
    request.frames = asked;
    const Made made = make(*pipeline, request);
    EXPECT_EQ(std::ssize(made.frames), given) << asked;
    EXPECT_EQ(made.result.warnings.size(), 1u);
  }
  request.frames = 1;
  EXPECT_TRUE(make(*pipeline, request).result.warnings.empty());
}

TEST(Wan, SaysWhatWasCutOffAPrompt) {
  const auto pipeline = load("wan-t2v");
  VideoRequest request = small_request();
  request.steps = 1;
  request.frames = 1;
  request.max_sequence_length = 8;
  const auto warnings = make(*pipeline, request).result.warnings;
  ASSERT_FALSE(warnings.empty());
  EXPECT_TRUE(warnings[0].starts_with("prompt truncated to 8 tokens")) << warnings[0];
}

TEST(Wan, RefusesWhatItCannotMake) {
  const auto pipeline = load("wan-t2v");
  const auto expect_refusal = [&](auto change) {
    VideoRequest request = small_request();
    change(request);
    EXPECT_THROW(make(*pipeline, request), ItemError);
  };
  expect_refusal([](auto& request) { request.width = 40; });
  expect_refusal([](auto& request) { request.height = 0; });
  expect_refusal([](auto& request) { request.steps = 0; });
  expect_refusal([](auto& request) { request.frames = 0; });
  expect_refusal([](auto& request) { request.guidance_scale_2 = 3; });
  expect_refusal([](auto& request) {
    request.scheduler = Json{{"_class_name", "EulerDiscreteScheduler"}};
  });
  EXPECT_NO_THROW(make(*pipeline, small_request())) << "and goes on";
}

struct Watcher : Silent {
  void stage(std::string_view name) override { stages.emplace_back(name); }
  void step(int64_t done, int64_t total) override {
    if (stages.back() == "decode") frames = {done, total};
  }
  bool wants_previews(int64_t done, int64_t) override { return done == 2; }
  void preview(size_t item, const Picture& picture) override {
    EXPECT_EQ(item, 0u);
    previews.push_back(picture);
  }
  std::vector<std::string> stages;
  std::pair<int64_t, int64_t> frames;
  std::vector<Picture> previews;
};

TEST(Wan, TellsHowFarItIs) {
  const auto pipeline = load("wan-t2v");
  VideoRequest request = small_request();
  request.frames = 9;
  Watcher watcher;
  make(*pipeline, request, watcher);
  EXPECT_EQ(watcher.stages, (std::vector<std::string>{"text_encode", "denoise", "decode"}));
  EXPECT_EQ(watcher.frames, std::pair(int64_t{9}, int64_t{9}));
  // The first, the middle and the last latent frame.
  ASSERT_EQ(watcher.previews.size(), 1u);
  EXPECT_EQ(watcher.previews[0].width, 3 * request.width / 8);
  EXPECT_EQ(watcher.previews[0].height, request.height / 8);
}

TEST(Wan, PassesOnWhatTheTakerOfFramesThrows) {
  const auto pipeline = load("wan-t2v");
  Silent silent;
  const auto full = [](const Picture&) { throw EnvironmentError("disk", "full", "free some"); };
  EXPECT_THROW(pipeline->generate(small_request(), full, {}, silent), EnvironmentError);
}

TEST(Wan, MakesFiniteFramesInHalfTheBits) {
  const auto pipeline = load("wan-t2v", TextEncoderPlace::held, Precision::bfloat16);
  EXPECT_EQ(pipeline->dtype(), "bfloat16");
  const Made narrow = make(*pipeline, small_request());
  const Made wide = make(*load("wan-t2v"), small_request());
  ASSERT_EQ(narrow.frames.size(), wide.frames.size());
  double sum = 0;
  for (size_t i = 0; i < wide.frames[2].rgb.size(); ++i)
    sum += std::abs(int(narrow.frames[2].rgb[i]) - int(wide.frames[2].rgb[i]));
  EXPECT_LT(sum / double(wide.frames[2].rgb.size()), 6);
}

TEST(Wan, RefusesOtherModels) {
  VideoPipelineOptions options;
  options.model = oracles() + "/sdxl-base/model";
  Silent silent;
  EXPECT_THROW(load_wan(options, at::kCPU, silent), LoadError);
}

}  // namespace
}  // namespace backlot
