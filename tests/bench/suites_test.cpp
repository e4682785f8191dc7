// The suites against an engine that takes no time.
#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "bench/bench.h"

namespace backlot {
namespace {

struct Seen {
  std::vector<std::vector<std::string>> prompts;  // of each call
  std::vector<KernelRequest> kernels;
  int loads = 0;
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

}  // namespace
}  // namespace backlot
