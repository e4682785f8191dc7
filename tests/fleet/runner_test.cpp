// The runner against an engine that makes flat pictures and fails on request.
#include "fleet/runner.h"

#include <gtest/gtest.h>

#include <set>
#include <utility>

#include "base/files.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

struct Behaviour {
  size_t fits = 1000;            // a larger batch is out of memory
  bool fits_untiled = true;      // else even one picture wants tiles
  std::set<uint64_t> bad_seeds;  // an ItemError for a batch with one of them
  std::set<uint64_t> hopeless;   // out of memory whatever is tried
  bool delivers = false;         // pictures come later, and bad seeds are found out then
  int loads = 0;                 // of pipelines
  std::vector<size_t> batches;   // sizes of the batches that were made
};

class FakePipeline : public ImagePipeline {
 public:
  explicit FakePipeline(Behaviour& behaviour) : behaviour_(behaviour) {}
  std::vector<ImageResult> generate(std::span<const ImageRequest> batch, Progress&) override {
    for (const auto& request : batch) {
      if (!behaviour_.delivers && behaviour_.bad_seeds.contains(request.seed))
        throw ItemError("", "bad seed", "take another");
      if (behaviour_.hopeless.contains(request.seed) ||
          (!behaviour_.fits_untiled && !request.vae_tiling))
        throw OutOfMemory("", "out of memory", "make it smaller");
    }
    if (batch.size() > behaviour_.fits) throw OutOfMemory("", "out of memory", "make it smaller");
    behaviour_.batches.push_back(batch.size());
    std::vector<ImageResult> results;
    for (const auto& request : batch) {
      Picture picture{request.width, request.height, {}};
      picture.rgb.assign(static_cast<size_t>(3 * request.width * request.height),
                         static_cast<uint8_t>(request.seed));
      results.push_back({std::move(picture), {}, {}});
    }
    return results;
  }
  std::vector<ImageResult> start(std::span<const ImageRequest> batch, Progress& progress) override {
    auto results = generate(batch, progress);
    if (!behaviour_.delivers) return results;
    for (size_t i = 0; i < batch.size(); ++i) {
      const bool bad = behaviour_.bad_seeds.contains(batch[i].seed);
      results[i].delivery = [bad, picture = std::exchange(results[i].picture, {})] {
        if (bad) throw ItemError("", "bad seed", "take another");
        return DeliveredPicture{picture, {.denoise = 2}};
      };
    }
    return results;
  }
  std::string dtype() const override { return "float32"; }

 private:
  Behaviour& behaviour_;
};

class FakeEngine : public Engine {
 public:
  explicit FakeEngine(Behaviour& behaviour) : behaviour_(behaviour) {}
  DeviceFacts device() const override { return {"cpu", "fake", 1 << 30, 1 << 30, 1}; }
  std::string torch_version() const override { return "none"; }
  std::unique_ptr<ImagePipeline> load_image_pipeline(const PipelineOptions&, Progress&) override {
    ++behaviour_.loads;
    return std::make_unique<FakePipeline>(behaviour_);
  }
  Ceilings measure_ceilings(Precision) override { return {}; }
  void measure_kernels(const KernelRequest&, const KernelListener&, Progress&) override {}

 private:
  Behaviour& behaviour_;
};

class Silence : public RunProgress {
 public:
  void begin(const Plan&, int64_t, int64_t) override {}
  void stage(std::string_view) override {}
  void step(int64_t, int64_t, int64_t) override {}
  void item_done(const Item&, double) override {}
  void item_failed(const Item&, const std::string&) override {}
  void warning(const std::string&) override {}
  void end(const RunTotals&) override {}
};

Plan plan_of(int64_t count, const fs::path& folder) {
  Plan plan{.name = "run", .run_folder = folder};
  for (int64_t i = 0; i < count; ++i) {
    Item item;
    item.id = std::string(60, 'a') + std::to_string(1000 + i);
    item.index = i;
    item.job = "job-1";
    item.model = "/models/fake";
    item.output = "images/" + std::to_string(i) + ".png";
    item.parameters = Json{{"prompt", "p"}, {"seed", i},   {"steps", 1},
                           {"width", 16},   {"height", 8}, {"guidance_scale", 5.0}};
    plan.items.push_back(std::move(item));
  }
  return plan;
}

Totals run(const Plan& plan, LoadedPipeline& loaded, MakingOptions options) {
  const RunInfo info{.backlot_version = "test",
                     .models = {{"/models/fake", "f00d", {}}},
                     .base_seed = RunFolder::base_seed(plan.run_folder)};
  RunFolder run_folder = RunFolder::open(plan.run_folder, plan, info);
  Silence silence;
  run_on_one_device(loaded, plan, run_folder, options, silence, StopSignal::install());
  return run_folder.totals();
}

Totals run(Behaviour& behaviour, int64_t count, MakingOptions options = {}) {
  TemporaryFolder folder;
  FakeEngine engine(behaviour);
  LoadedPipeline loaded(engine);
  return run(plan_of(count, folder / "run"), loaded, options);
}

TEST(Runner, MakesEveryItem) {
  Behaviour behaviour;
  EXPECT_EQ(run(behaviour, 10).done, 10);
}

TEST(Runner, LoadsAModelOnceForSeveralRuns) {
  TemporaryFolder folder;
  Behaviour behaviour;
  FakeEngine engine(behaviour);
  LoadedPipeline loaded(engine);
  EXPECT_EQ(run(plan_of(2, folder / "first"), loaded, {}).done, 2);
  // The second run begins with what the first has left, then goes on to its own.
  auto second = plan_of(3, folder / "second");
  second.items[0].model = "/models/other";
  EXPECT_EQ(run(second, loaded, {}).done, 3);
  EXPECT_EQ(behaviour.loads, 2);
  EXPECT_EQ(behaviour.batches, (std::vector<size_t>{2, 2, 1}));
  EXPECT_EQ(run(plan_of(2, folder / "third"), loaded, {.precision = Precision::bfloat16}).done, 2);
  EXPECT_EQ(behaviour.loads, 3);
}

TEST(Runner, HalvesTheBatchWhenMemoryRunsOutAndKeepsToIt) {
  Behaviour behaviour{.fits = 2};
  EXPECT_EQ(run(behaviour, 11, {.batch_size = 8}).done, 11);
  EXPECT_EQ(behaviour.batches, (std::vector<size_t>{2, 2, 2, 2, 2, 1}));
}

TEST(Runner, DecodesInTilesBeforeItGivesUp) {
  Behaviour behaviour{.fits_untiled = false};
  EXPECT_EQ(run(behaviour, 3).done, 3);
}

TEST(Runner, GivesUpTheItemNotTheRun) {
  Behaviour behaviour{.hopeless = {4}};
  const Totals totals = run(behaviour, 9);
  EXPECT_EQ(totals.done, 8);
  EXPECT_EQ(totals.failed, 1);
}

TEST(Runner, AFailedItemDoesNotTakeItsBatchAlong) {
  Behaviour behaviour{.bad_seeds = {2}};
  const Totals totals = run(behaviour, 6, {.batch_size = 6});
  EXPECT_EQ(totals.done, 5);
  EXPECT_EQ(totals.failed, 1);
}

TEST(Runner, WritesPicturesThatAreDeliveredLater) {
  Behaviour behaviour{.delivers = true};
  EXPECT_EQ(run(behaviour, 7, {.batch_size = 3}).done, 7);
}

TEST(Runner, ADeliveryThatFailsFailsItsItemAlone) {
  Behaviour behaviour{.bad_seeds = {1, 4}, .delivers = true};
  const Totals totals = run(behaviour, 6, {.batch_size = 6});
  EXPECT_EQ(totals.done, 4);
  EXPECT_EQ(totals.failed, 2);
  EXPECT_EQ(behaviour.batches, std::vector<size_t>{6});
}

}  // namespace
}  // namespace backlot
