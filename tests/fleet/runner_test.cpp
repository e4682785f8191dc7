// The runner against an engine that makes flat pictures and fails on request.
#include "fleet/runner.h"

#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "base/files.h"
#include "fleet/quarters.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

struct Behaviour {
  size_t fits = 1000;              // a larger batch is out of memory
  bool fits_untiled = true;        // else even one picture wants tiles
  std::set<uint64_t> bad_seeds;    // an ItemError for a batch with one of them
  std::set<uint64_t> hopeless;     // out of memory whatever is tried
  bool delivers = false;           // pictures come later, and bad seeds are found out then
  bool fits_with_encoders = true;  // else text encoders have to be moved out
  bool fits_in_float32 = true;
  PipelineMemory memory;         // reported after each batch
  int loads = 0;                 // of pipelines
  std::vector<size_t> batches;   // sizes of the batches that were made
  std::vector<size_t> prepared;  // requests that were to be encoded ahead
};

class FakePipeline : public ImagePipeline {
 public:
  FakePipeline(Behaviour& behaviour, const PipelineOptions& options)
      : behaviour_(behaviour),
        dtype_(options.precision == Precision::bfloat16 ? "bfloat16" : "float32"),
        out_(options.text_encoders_out) {}
  std::vector<ImageResult> generate(std::span<const ImageRequest> batch,
                                    Progress& progress) override {
    for (const auto& request : batch) {
      if (!behaviour_.delivers && behaviour_.bad_seeds.contains(request.seed))
        throw ItemError("", "bad seed", "take another");
      if (behaviour_.hopeless.contains(request.seed) ||
          (!behaviour_.fits_untiled && !request.vae_tiling) ||
          (!behaviour_.fits_with_encoders && !out_) ||
          (!behaviour_.fits_in_float32 && dtype_ == "float32"))
        throw OutOfMemory("", "out of memory", "make it smaller");
    }
    if (batch.size() > behaviour_.fits) throw OutOfMemory("", "out of memory", "make it smaller");
    behaviour_.batches.push_back(batch.size());
    take_steps(batch.size(), progress);
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
  std::string dtype() const override { return dtype_; }
  void prepare(std::span<const ImageRequest> requests, int64_t) override {
    if (!out_) return;
    behaviour_.prepared.push_back(requests.size());
  }
  bool move_text_encoders_out() override { return !std::exchange(out_, true); }
  bool text_encoders_out() const override { return out_; }
  PipelineMemory memory() const override { return behaviour_.memory; }

 private:
  // Eight for each item of the batch by itself.
  static void take_steps(size_t batch, Progress& progress) {
    progress.stage("denoise");
    for (size_t item = 0; item < batch; ++item) {
      progress.denoising({&item, 1});
      for (int64_t step = 1; step <= 8; ++step) {
        if (progress.wants_previews(step, 8)) progress.preview(item, {1, 1, {9, 9, 9}});
        progress.step(step, 8);
      }
    }
  }

  Behaviour& behaviour_;
  std::string dtype_;
  bool out_;
};

class FakeEngine : public Engine {
 public:
  explicit FakeEngine(Behaviour& behaviour) : behaviour_(behaviour) {}
  DeviceFacts device() const override { return {"cpu", "fake", 1 << 30, 1 << 30, 1}; }
  std::string torch_version() const override { return "none"; }
  std::unique_ptr<ImagePipeline> load_image_pipeline(const PipelineOptions& options,
                                                     Progress&) override {
    ++behaviour_.loads;
    return std::make_unique<FakePipeline>(behaviour_, options);
  }
  Ceilings measure_ceilings(Precision) override { return {}; }
  void measure_kernels(const KernelRequest&, const KernelListener&, Progress&) override {}

 private:
  Behaviour& behaviour_;
};

class Listener : public RunProgress {
 public:
  void begin(const Plan&, int64_t, int64_t) override {}
  void stage(std::string_view) override {}
  void step(int64_t, int64_t, int64_t) override {}
  void item_done(const Item&, double) override {}
  void item_failed(const Item&, const std::string&) override {}
  void warning(const std::string& text) override { warnings.push_back(text); }
  void detail(const std::string& text) override { details.push_back(text); }
  std::vector<std::string> warnings, details;
  void end(const RunTotals&) override {}
};

// What is told of items, in words; by its place in the plan.
class Listening : public Listener {
 public:
  explicit Listening(bool previews) : previews_(previews) {}
  void item_progress(const Item& item, int percent, std::string_view preview) override {
    say(item, std::to_string(percent) + (preview.starts_with("data:image/png") ? "!" : ""));
  }
  bool wants_previews() const override { return previews_; }
  void item_retried(const Item& item, const std::string&) override { say(item, "retried"); }
  void item_recorded(const Item& item, const Record& record) override {
    say(item, "recorded");
    EXPECT_EQ(record.id, item.id);
    EXPECT_EQ(record.status, ItemStatus::done);
    EXPECT_GT(record.file.bytes, 0u);
  }
  void item_done(const Item& item, double) override { say(item, "done"); }
  void item_failed(const Item& item, const std::string&) override { say(item, "failed"); }
  std::map<int64_t, std::vector<std::string>> heard;  // by item

 private:
  void say(const Item& item, std::string what) {
    const std::lock_guard lock(mutex_);
    heard[item.index].push_back(std::move(what));
  }
  bool previews_;
  std::mutex mutex_;
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

// The engine is a fake, and so are its models: pictures of 16x8 are larger than their tiles.
std::shared_ptr<MemoryPlanner> planner(const MakingOptions& options, const fs::path& store = {}) {
  return std::make_shared<MemoryPlanner>(
      MemoryWish{options.precision, options.quantization, options.batch_size,
                 options.allow_lower_precision},
      MemoryStore(store), [](const Item&) {
        ModelSizes sizes;
        sizes.vae_tile = 8;
        return sizes;
      });
}

Totals run(const Plan& plan, LoadedPipeline& loaded, MakingOptions options, RunProgress& progress) {
  const RunInfo info{.backlot_version = "test",
                     .models = {{"/models/fake", "f00d", {}}},
                     .base_seed = RunFolder::base_seed(plan.run_folder)};
  RunFolder run_folder = RunFolder::open(plan.run_folder, plan, info);
  if (!options.planner) options.planner = planner(options);
  run_on_one_device(loaded, plan, run_folder, options, progress, StopSignal::install());
  return run_folder.totals();
}

struct Outcome {
  Totals totals;
  std::vector<Record> records;
  std::vector<std::string> warnings, details;
};

Outcome watch(const Plan& plan, LoadedPipeline& loaded, MakingOptions options) {
  Listener listener;
  Outcome outcome;
  outcome.totals = run(plan, loaded, std::move(options), listener);
  outcome.records = read_journals(RootedFolder(plan.run_folder)).records;
  outcome.warnings = listener.warnings;
  outcome.details = listener.details;
  return outcome;
}

Totals run(const Plan& plan, LoadedPipeline& loaded, MakingOptions options) {
  return watch(plan, loaded, std::move(options)).totals;
}

std::map<int64_t, std::vector<std::string>> heard_of(Behaviour behaviour, int64_t count,
                                                     bool previews) {
  TemporaryFolder folder;
  FakeEngine engine(behaviour);
  LoadedPipeline loaded(engine);
  Listening listening(previews);
  run(plan_of(count, folder / "run"), loaded, {.batch_size = 2}, listening);
  return listening.heard;
}

Outcome watch(Behaviour& behaviour, int64_t count, MakingOptions options = {}) {
  TemporaryFolder folder;
  FakeEngine engine(behaviour);
  LoadedPipeline loaded(engine);
  return watch(plan_of(count, folder / "run"), loaded, std::move(options));
}

Totals run(Behaviour& behaviour, int64_t count, MakingOptions options = {}) {
  return watch(behaviour, count, std::move(options)).totals;
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

bool says(const std::vector<std::string>& lines, const std::string& part) {
  return std::ranges::any_of(
      lines, [&](const auto& line) { return line.find(part) != std::string::npos; });
}

TEST(Runner, SaysEachStepDownAndRecordsIt) {
  Behaviour behaviour{.fits = 2, .fits_untiled = false, .fits_with_encoders = false};
  const auto outcome = watch(behaviour, 4, {.batch_size = 4});
  EXPECT_EQ(outcome.totals.done, 4);
  for (const char* step : {"2 together in place of 4", "decoded in tiles",
                           "text encoders only while prompts are encoded"}) {
    EXPECT_TRUE(says(outcome.warnings, step)) << step;
    EXPECT_TRUE(says(outcome.records.at(0).attempt.warnings, step)) << step;
  }
  // What was learned with the first is not learned again.
  EXPECT_EQ(std::ranges::count_if(
                outcome.warnings,
                [](const auto& line) { return line.find("in tiles") != std::string::npos; }),
            1);
  EXPECT_EQ(behaviour.loads, 1);
}

TEST(Runner, GoesDownInPrecisionOnlyIfAllowed) {
  Behaviour strict{.fits_in_float32 = false};
  EXPECT_EQ(run(strict, 2, {.precision = Precision::float32}).failed, 2);
  Behaviour lenient{.fits_in_float32 = false};
  const auto outcome =
      watch(lenient, 2, {.precision = Precision::float32, .allow_lower_precision = true});
  EXPECT_EQ(outcome.totals.done, 2);
  EXPECT_TRUE(says(outcome.warnings, "bfloat16 in place of float32"));
  for (const auto& record : outcome.records) EXPECT_EQ(record.attempt.dtype, "bfloat16");
  EXPECT_EQ(lenient.loads, 2);
}

TEST(Runner, TheNextRunBeginsWhereThisOneEnded) {
  TemporaryFolder folder;
  Behaviour behaviour{.fits = 2};
  FakeEngine engine(behaviour);
  for (const char* name : {"first", "second"}) {
    MakingOptions options{.batch_size = 8};
    options.planner = planner(options, folder / "memory.json");
    LoadedPipeline loaded(engine);
    const auto outcome = watch(plan_of(4, folder / name), loaded, options);
    EXPECT_EQ(outcome.totals.done, 4);
    EXPECT_EQ(says(outcome.warnings, "out of memory"), std::string(name) == "first");
    EXPECT_TRUE(says(outcome.warnings, "in place of"));
  }
  EXPECT_EQ(behaviour.batches, (std::vector<size_t>{2, 2, 2, 2}));
}

TEST(Runner, APeakAboveThePlanIsSaidAndKept) {
  TemporaryFolder folder;
  constexpr uint64_t peak = uint64_t{600} << 20;
  Behaviour behaviour{.memory = {.before = peak / 8, .loaded = peak / 4, .peak = peak}};
  MakingOptions options{.batch_size = 2};
  options.planner = planner(options, folder / "memory.json");
  FakeEngine engine(behaviour);
  LoadedPipeline loaded(engine);
  const auto outcome = watch(plan_of(4, folder / "run"), loaded, options);
  // The second batch took what was known by then.
  EXPECT_EQ(std::ranges::count_if(
                outcome.details,
                [](const auto& line) { return line.find("took 600.0 MiB") != std::string::npos; }),
            1);
  const auto known = MemoryStore(folder / "memory.json").of_model("");
  ASSERT_EQ(known.size(), 1u);
  EXPECT_EQ(known[0].second.peaks, (std::map<int64_t, uint64_t>{{2, peak}}));
}

TEST(Runner, AWishThatDoesNotFitIsSteppedDown) {
  Behaviour behaviour;
  FakeEngine engine(behaviour);
  LoadedPipeline loaded(engine);
  TemporaryFolder folder;
  const Plan plan = plan_of(4, folder / "run");
  MakingOptions options{.precision = Precision::float32, .batch_size = 4};
  options.planner = planner(options);
  const auto key = options.planner->key(plan.items[0], device_memory("cpu"), {.dtype = "float32"});
  for (const int64_t together : {1, 2, 4})
    options.planner->store().note_batch(key, 1, 1, together,
                                        (uint64_t{350} << 20) * static_cast<uint64_t>(together));
  const auto outcome = watch(plan, loaded, options);
  EXPECT_EQ(outcome.totals.done, 4);
  EXPECT_EQ(behaviour.batches, (std::vector<size_t>{2, 2}));
  EXPECT_TRUE(says(outcome.warnings, "2 together in place of 4: those would take"));
  // Handed as one batch it is made in parts, too.
  Listener listener;
  const Plan other = plan_of(4, folder / "other");
  const RunInfo info{.backlot_version = "test",
                     .models = {{"/models/fake", "f00d", {}}},
                     .base_seed = RunFolder::base_seed(other.run_folder)};
  RunFolder run_folder = RunFolder::open(other.run_folder, other, info);
  BatchMaker maker(loaded, other.output, run_folder, options, listener, StopSignal::install());
  maker.make(run_folder.pending());
  maker.drain();
  EXPECT_EQ(run_folder.totals().done, 4);
  EXPECT_EQ(behaviour.batches, (std::vector<size_t>{2, 2, 2, 2}));
}

TEST(Runner, ReadsPromptsAheadWhereTextEncodersAreOut) {
  Behaviour held;
  watch(held, 10, {.batch_size = 2});
  EXPECT_TRUE(held.prepared.empty());
  // The first batch of four finds out.
  Behaviour out{.fits_with_encoders = false};
  EXPECT_EQ(watch(out, 200, {.batch_size = 4}).totals.done, 200);
  EXPECT_EQ(out.prepared, (std::vector<size_t>{96, 96, 4}));
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

using Words = std::vector<std::string>;

TEST(Runner, TellsEveryQuarterOfEveryItem) {
  for (const bool delivers : {false, true}) {
    const auto heard = heard_of({.delivers = delivers}, 2, false);
    ASSERT_EQ(heard.size(), 2u);
    for (const auto& [item, words] : heard)
      EXPECT_EQ(words, (Words{"0", "25", "50", "75", "100", "recorded", "done"})) << item;
  }
}

TEST(Runner, PreviewsComeWithTheQuartersIfTheyAreWanted) {
  const auto heard = heard_of({}, 2, true);
  for (const auto& [item, words] : heard)
    EXPECT_EQ(words, (Words{"0!", "25!", "50!", "75!", "100!", "recorded", "done"})) << item;
}

TEST(Runner, TellsWhatIsBegunAgain) {
  const auto heard = heard_of({.fits = 1, .hopeless = {1}}, 2, false);
  // The first is out of memory with the second, the second also by itself, then in
  // tiles, then without the text encoders.
  EXPECT_EQ(heard.at(0), (Words{"retried", "0", "25", "50", "75", "100", "recorded", "done"}));
  EXPECT_EQ(heard.at(1), (Words{"retried", "retried", "retried", "failed"}));
}

TEST(Quarters, ComeOnceAndInOrder) {
  Quarters quarters;
  EXPECT_EQ(quarters.pass(0, 8), std::vector<int>{});
  EXPECT_EQ(quarters.passed_by(1, 8), std::vector<int>{0});
  EXPECT_EQ(quarters.pass(1, 8), std::vector<int>{0});
  EXPECT_EQ(quarters.pass(1, 8), std::vector<int>{});
  EXPECT_EQ(quarters.pass(2, 8), std::vector<int>{25});
  EXPECT_EQ(quarters.pass(6, 8), (std::vector<int>{50, 75}));
  EXPECT_EQ(quarters.pass(8, 8), std::vector<int>{});
  // One step is all of them at once; three never pass a quarter too early.
  EXPECT_EQ(Quarters().pass(1, 1), (std::vector<int>{0, 25, 50, 75}));
  Quarters thirds;
  EXPECT_EQ(thirds.pass(1, 3), (std::vector<int>{0, 25}));
  EXPECT_EQ(thirds.pass(2, 3), std::vector<int>{50});
  EXPECT_EQ(thirds.pass(3, 3), std::vector<int>{75});
}

}  // namespace
}  // namespace backlot
