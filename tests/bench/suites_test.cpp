// The suites against an engine that takes no time.
#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "bench/bench.h"
#include "engine/video.h"

namespace backlot {
namespace {

struct Seen {
  std::vector<std::vector<std::string>> prompts;  // of each call
  std::vector<KernelRequest> kernels;
  std::vector<LanguageModelOptions> language_models;
  std::vector<std::vector<std::pair<int64_t, int64_t>>> passes;  // position and tokens of each run
  std::vector<VideoPipelineOptions> video_pipelines;
  std::vector<VideoRequest> clips;
  int loads = 0;
};

class FakeVideoPipeline : public VideoPipeline {
 public:
  explicit FakeVideoPipeline(Seen& seen) : seen_(seen) {}
  VideoResult generate(const VideoRequest& request, const FrameTaker& take_frame,
                       const VideoCheckpoints&, Progress& progress) override {
    if (request.width > 999) throw OutOfMemory("", "out of memory", "make it smaller");
    seen_.clips.push_back(request);
    progress.stage("denoise");
    for (int64_t step = 1; step <= request.steps; ++step) progress.step(step, request.steps);
    progress.stage("decode");
    VideoResult result;
    for (; result.frames < request.frames / 4 * 4 + 1; ++result.frames) take_frame({});
    result.seconds = {0.25, 1.5, 0.5};
    return result;
  }
  std::string dtype() const override { return "bfloat16"; }

 private:
  Seen& seen_;
};

class FakePipeline : public ImagePipeline {
 public:
  explicit FakePipeline(Seen& seen) : seen_(seen) {}
  std::vector<ImageResult> generate(std::span<const ImageRequest> batch,
                                    Progress& progress) override {
    if (batch.size() > 8) throw OutOfMemory("", "out of memory", "make it smaller");
    auto& prompts = seen_.prompts.emplace_back();
    progress.stage("text_encode");
    progress.stage("denoise");
    for (int64_t step = 1; step <= batch.front().steps; ++step)
      progress.step(step, batch.front().steps);
    progress.stage("decode");
    for (const auto& request : batch) prompts.push_back(request.prompt);
    return std::vector<ImageResult>(batch.size(), {.seconds = {0.25, 1.5, 0.5}});
  }
  std::string dtype() const override { return "bfloat16"; }

 private:
  Seen& seen_;
};

class FakeLanguageModel : public LanguageModel {
 public:
  FakeLanguageModel(Seen& seen, int64_t tokens) : seen_(seen), blocks_(tokens / block_tokens()) {}
  int64_t vocabulary_size() const override { return 50; }
  int64_t context_length() const override { return 2048; }
  int64_t block_tokens() const override { return 32; }
  int64_t block_count() const override { return blocks_; }
  ForwardResult forward(std::span<const TokenRun> runs) override {
    if (runs.size() > 8) throw OutOfMemory("", "out of memory", "make it smaller");
    auto& pass = seen_.passes.emplace_back();
    std::set<int32_t> blocks;
    for (const auto& run : runs) {
      const int64_t end = run.position + std::ssize(run.tokens);
      EXPECT_LE(end, std::ssize(run.blocks) * block_tokens());
      for (const int32_t block : run.blocks) {
        EXPECT_LT(block, blocks_);
        EXPECT_TRUE(blocks.insert(block).second) << "texts share block " << block;
      }
      pass.emplace_back(run.position, std::ssize(run.tokens));
    }
    return {};
  }
  std::string dtype() const override { return "int4"; }
  std::string device() const override { return "cpu"; }
  uint64_t weight_bytes() const override { return 1000; }

 private:
  Seen& seen_;
  int64_t blocks_;
};

class FakeEngine : public Engine {
 public:
  explicit FakeEngine(Seen& seen) : seen_(seen) {}
  DeviceFacts device() const override { return {"cpu", "fake", 1 << 30, 1 << 30, 1}; }
  std::string torch_version() const override { return "none"; }
  std::unique_ptr<ImagePipeline> load_image_pipeline(const PipelineOptions&,
                                                     Progress& progress) override {
    progress.stage("load");
    ++seen_.loads;
    return std::make_unique<FakePipeline>(seen_);
  }
  std::unique_ptr<VideoPipeline> load_video_pipeline(const VideoPipelineOptions& options,
                                                     Progress& progress) override {
    progress.stage("load");
    seen_.video_pipelines.push_back(options);
    return std::make_unique<FakeVideoPipeline>(seen_);
  }
  std::unique_ptr<LanguageModel> load_language_model(const LanguageModelOptions& options,
                                                     Progress&) override {
    seen_.language_models.push_back(options);
    return std::make_unique<FakeLanguageModel>(seen_, options.cache_tokens);
  }
  Ceilings measure_ceilings(Precision) override { return {1e11, 1e10, "bfloat16"}; }
  void measure_kernels(const KernelRequest& request, const KernelListener& report,
                       Progress&) override {
    seen_.kernels.push_back(request);
    if (request.filters == std::vector<std::string>{"batch-3"})
      throw UsageError("batch-3", "no kernel has this in its name", "see them all");
    report({"unet/conv3x3", "1x4x8x8 -> 4", 3, 1e9, 1e6, {0.02, 0.02, 0.02}});
    report({"unet/linear", "64x8 -> 8", 2, 1e8, 1e6, {0.01, 0.01, 0.01}});
  }

 private:
  Seen& seen_;
};

class Quiet : public BenchListener {
 public:
  void measured(const BenchCase&) override {}
  void noted(const std::string&) override {}
};

BenchRequest small_request() {
  return {.model = "/models/net",
          .model_name = "net",
          .device = "cpu",
          .dtypes = {"auto"},
          .batch_sizes = {1, 3},
          .steps = {2},
          .kernel_batch_sizes = {1},
          .sizes = {{8, 16}},
          .repeats = 4};
}

BenchResults run(const BenchRequest& request, void (*suite)(Bench&), Seen& seen,
                 TraceRecorder& recorder) {
  Quiet quiet;
  Bench bench(
      request, {}, [&] { return std::make_unique<FakeEngine>(seen); }, recorder, quiet,
      StopSignal::install());
  suite(bench);
  return bench.results();
}

TEST(ImageSuite, RepeatsEveryCaseAfterItsWarmUp) {
  Seen seen;
  TraceRecorder recorder;
  const auto results = run(small_request(), run_image_suite, seen, recorder);
  ASSERT_EQ(results.cases.size(), 2u);
  const BenchCase& three = results.cases[1];
  EXPECT_EQ(three.name, "image/net/cpu/auto/16x8/steps-2/guidance-5/batch-3");
  EXPECT_EQ(three.parameters["dtype"], "bfloat16");
  EXPECT_EQ(three.seconds.size(), 4u);
  EXPECT_EQ(three.stage_median("denoise"), 1.5);
  EXPECT_EQ(seen.loads, 1);
  ASSERT_EQ(seen.prompts.size(), 10u) << "two cases of one warm-up and four repeats";
  std::set<std::string> distinct;
  for (size_t i = 5; i < 10; ++i) distinct.insert(seen.prompts[i].begin(), seen.prompts[i].end());
  EXPECT_EQ(distinct.size(), 15u) << "a prompt seen before would cost no encoding";
}

TEST(ImageSuite, LeavesASpanForEveryStageOfEveryItem) {
  Seen seen;
  TraceRecorder recorder;
  run(small_request(), run_image_suite, seen, recorder);
  size_t items = 0, stages = 0, steps = 0;
  for (const auto& span : recorder.spans()) {
    items += span.category == "item";
    stages += span.category == "stage";
    steps += span.category == "step";
  }
  EXPECT_EQ(stages, 1 + 10 * 3u) << "a load, and three stages a call";
  EXPECT_EQ(items, 5 * 3 * (1 + 3u));
  EXPECT_EQ(steps, 10 * 2u);
}

TEST(ImageSuite, ACaseThatDoesNotFitFailsAlone) {
  Seen seen;
  TraceRecorder recorder;
  BenchRequest request = small_request();
  request.batch_sizes = {9, 1};
  const auto results = run(request, run_image_suite, seen, recorder);
  ASSERT_EQ(results.cases.size(), 2u);
  EXPECT_EQ(results.cases[0].error, "out of memory");
  EXPECT_TRUE(results.cases[0].seconds.empty());
  EXPECT_TRUE(results.cases[1].error.empty());
}

TEST(ImageSuite, AFilterThatNothingMatchesLoadsNothing) {
  Seen seen;
  TraceRecorder recorder;
  BenchRequest request = small_request();
  request.filters = {"batch-7", "steps-9"};
  EXPECT_TRUE(run(request, run_image_suite, seen, recorder).cases.empty());
  EXPECT_EQ(seen.loads, 0);
  request.filters.emplace_back("batch-3");
  EXPECT_EQ(run(request, run_image_suite, seen, recorder).cases.size(), 1u);
}

TEST(KernelSuite, MeasuresUnderTheCeilings) {
  Seen seen;
  TraceRecorder recorder;
  const auto results = run(small_request(), run_kernel_suite, seen, recorder);
  ASSERT_EQ(results.cases.size(), 2u);
  EXPECT_EQ(results.cases[0].name, "kernels/net/cpu/auto/16x8/batch-1/unet/conv3x3 1x4x8x8 -> 4");
  EXPECT_NEAR(results.cases[0].figure("share"), 0.75, 1e-12);
  EXPECT_NEAR(results.cases[0].figure("of_ceiling"), 0.5, 1e-12);
  ASSERT_EQ(results.ceilings.size(), 1u);
  EXPECT_EQ(results.ceilings[0].dtype, "bfloat16");
  ASSERT_EQ(seen.kernels.size(), 1u);
  EXPECT_EQ(seen.kernels[0].architecture, "/models/net");
  EXPECT_EQ(seen.kernels[0].width, 16);
  EXPECT_EQ(seen.kernels[0].height, 8);
  EXPECT_EQ(seen.kernels[0].repeats, 4);
}

TEST(KernelSuite, FiltersByTheWholeName) {
  Seen seen;
  TraceRecorder recorder;
  BenchRequest request = small_request();
  request.synthetic = "sdxl";
  request.filters = {"linear 64x8"};
  const auto results = run(request, run_kernel_suite, seen, recorder);
  ASSERT_EQ(results.cases.size(), 1u);
  EXPECT_EQ(results.cases[0].parameters["kernel"], "unet/linear");
  EXPECT_EQ(seen.kernels.at(0).filters, std::vector<std::string>{"linear"});
  EXPECT_EQ(seen.kernels.at(0).architecture, "sdxl");
}

TEST(KernelSuite, AFilterForAnotherSuiteIsNoFault) {
  Seen seen;
  TraceRecorder recorder;
  BenchRequest request = small_request();
  request.filters = {"batch-3"};
  const auto results = run(request, run_kernel_suite, seen, recorder);
  EXPECT_TRUE(results.cases.empty());
  EXPECT_EQ(results.notes.size(), 1u);
}

BenchRequest video_request() {
  BenchRequest request = small_request();
  request.video_model = "/models/clips";
  request.video_name = "clips";
  request.video_sizes = {{32, 48}};
  request.frames = {18};
  request.video_steps = {2, 5};
  return request;
}

TEST(VideoSuite, RepeatsEveryClipAfterItsWarmUp) {
  Seen seen;
  TraceRecorder recorder;
  const auto results = run(video_request(), run_video_suite, seen, recorder);
  ASSERT_EQ(seen.video_pipelines.size(), 1u);
  EXPECT_EQ(seen.video_pipelines[0].model, "/models/clips");
  ASSERT_EQ(results.cases.size(), 2u);
  const BenchCase& five = results.cases[1];
  EXPECT_EQ(five.name, "video/clips/cpu/auto/48x32x18/steps-5/guidance-5");
  EXPECT_EQ(five.measures, "a clip");
  EXPECT_EQ(five.seconds.size(), 4u);
  EXPECT_EQ(five.parameters["frames"], 17) << "as made";
  EXPECT_EQ(five.stage_median("decode"), 0.5);
  EXPECT_DOUBLE_EQ(five.figure("frames_per_second"), 17 / five.summary().median);
  ASSERT_EQ(seen.clips.size(), 10u);
  std::set<std::string> distinct;
  for (size_t i = 5; i < 10; ++i) {
    distinct.insert(seen.clips[i].prompt);
    distinct.insert(seen.clips[i].negative_prompt);
    EXPECT_EQ(seen.clips[i].height, 32);
    EXPECT_EQ(seen.clips[i].steps, 5);
  }
  EXPECT_EQ(distinct.size(), 10u) << "a prompt seen before would cost no encoding";
  EXPECT_TRUE(results.notes.empty());
}

TEST(VideoSuite, SaysThatRandomTextsAreNotMeasured) {
  Seen seen;
  TraceRecorder recorder;
  BenchRequest request = video_request();
  request.synthetic = "wan-1.3b";
  request.video_sizes = {{32, 1600}, {32, 48}};
  request.video_steps = {2};
  const auto results = run(request, run_video_suite, seen, recorder);
  EXPECT_EQ(seen.video_pipelines.at(0).synthetic, "wan-1.3b");
  ASSERT_EQ(results.notes.size(), 1u);
  EXPECT_NE(results.notes[0].find("text encoder"), std::string::npos);
  ASSERT_EQ(results.cases.size(), 2u);
  EXPECT_EQ(results.cases[0].error, "out of memory");
  EXPECT_TRUE(results.cases[1].error.empty());
}

BenchRequest language_request() {
  BenchRequest request = small_request();
  request.language_model = "/models/talker";
  request.language_name = "talker";
  request.quantize = "int4";
  request.language_batch_sizes = {1, 3};
  return request;
}

TEST(LanguageSuite, MeasuresPromptsAndTextsThatGrow) {
  Seen seen;
  TraceRecorder recorder;
  const auto results = run(language_request(), run_language_suite, seen, recorder);
  ASSERT_EQ(seen.language_models.size(), 1u);
  EXPECT_EQ(seen.language_models[0].model, "/models/talker");
  EXPECT_EQ(seen.language_models[0].packing, WeightPacking::int4);
  ASSERT_EQ(results.cases.size(), 3u);
  EXPECT_EQ(results.cases[0].name, "language/talker/cpu/auto/quantize-int4/prefill-512");
  const BenchCase& three = results.cases[2];
  EXPECT_EQ(three.name, "language/talker/cpu/auto/quantize-int4/decode/batch-3");
  EXPECT_EQ(three.parameters["dtype"], "int4");
  EXPECT_EQ(three.parameters["context"], 128);
  EXPECT_EQ(three.seconds.size(), 4u);
  const double token = three.summary().median;
  EXPECT_DOUBLE_EQ(three.figure("tokens_per_second"), 1 / token);
  EXPECT_DOUBLE_EQ(three.figure("weight_bytes_per_second"), 1000 / (3 * token));
  // Five rounds of a prompt; then for each batch what the texts stand after, and five rounds of
  // sixteen tokens of each.
  using Pass = std::vector<std::pair<int64_t, int64_t>>;
  ASSERT_EQ(seen.passes.size(), 5 + 2 * (1 + 5 * 16u));
  EXPECT_EQ(seen.passes[4], (Pass{{0, 512}}));
  EXPECT_EQ(seen.passes[5], (Pass{{0, 128}}));
  EXPECT_EQ(seen.passes[6], (Pass{{128, 1}}));
  EXPECT_EQ(seen.passes[86], (Pass{{0, 128}, {0, 128}, {0, 128}}));
  EXPECT_EQ(seen.passes.back(), (Pass{{143, 1}, {143, 1}, {143, 1}}));
}

TEST(LanguageSuite, ACaseThatDoesNotFitFailsAlone) {
  Seen seen;
  TraceRecorder recorder;
  BenchRequest request = language_request();
  request.language_batch_sizes = {9, 2};
  request.filters = {"decode"};
  const auto results = run(request, run_language_suite, seen, recorder);
  ASSERT_EQ(results.cases.size(), 2u);
  EXPECT_EQ(results.cases[0].error, "out of memory");
  EXPECT_TRUE(results.cases[0].seconds.empty());
  EXPECT_TRUE(results.cases[1].error.empty());
}

TEST(LanguageSuite, ASyntheticModelHasNoFolder) {
  Seen seen;
  TraceRecorder recorder;
  BenchRequest request = language_request();
  request.synthetic = "qwen2.5-7b";
  request.quantize = "auto";
  request.filters = {"prefill"};
  run(request, run_language_suite, seen, recorder);
  EXPECT_EQ(seen.language_models.at(0).synthetic, "qwen2.5-7b");
  EXPECT_EQ(seen.language_models.at(0).packing, WeightPacking::automatic);
}

}  // namespace
}  // namespace backlot
