// Clips by the runner, against an engine that makes grey frames and fails on request.
#include <gtest/gtest.h>

#include <set>
#include <utility>

#include "base/files.h"
#include "fleet/clip_output.h"
#include "fleet/runner.h"
#include "media/metadata.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

struct Behaviour {
  bool fits_untiled = true;
  TextEncoderPlace fits_with = TextEncoderPlace::held;  // the least that has to be moved out
  bool fits_in_float32 = true;
  std::set<uint64_t> bad_seeds;           // an ItemError
  std::optional<int64_t> stops_after;     // frames: Interrupted flies then, as from a signal
  int64_t keeps_after = 0;                // steps: a checkpoint is offered
  std::vector<std::string> resumed_from;  // of each clip that was begun
  std::vector<std::string> precisions;    // of each clip that was made
  int loads = 0;
};

class FakeVideoPipeline : public VideoPipeline {
 public:
  FakeVideoPipeline(Behaviour& behaviour, const VideoPipelineOptions& options)
      : behaviour_(behaviour),
        dtype_(options.precision == Precision::bfloat16 ? "bfloat16" : "float32"),
        place_(options.text_encoder) {}

  VideoResult generate(const VideoRequest& request, const FrameTaker& take_frame,
                       const VideoCheckpoints& checkpoints, Progress& progress) override {
    behaviour_.resumed_from.push_back(checkpoints.resume_from);
    if (behaviour_.bad_seeds.contains(request.seed)) throw ItemError("", "bad seed", "another");
    if ((!behaviour_.fits_untiled && !request.vae_tiling) || place_ < behaviour_.fits_with ||
        (!behaviour_.fits_in_float32 && dtype_ == "float32"))
      throw OutOfMemory("", "out of memory", "make it smaller");
    progress.stage("denoise");
    constexpr size_t items[] = {0};
    progress.denoising(items);
    for (int64_t step = 1; step <= request.steps; ++step) {
      if (step < request.steps && checkpoints.due && checkpoints.due(step, request.steps))
        checkpoints.keep("after step " + std::to_string(step));
      progress.step(step, request.steps);
    }
    VideoResult result;
    progress.stage("decode");
    for (int64_t i = 0; i < request.frames; ++i) {
      if (behaviour_.stops_after == i) throw Interrupted();
      Picture frame{request.width, request.height, {}};
      frame.rgb.assign(static_cast<size_t>(3 * request.width * request.height),
                       static_cast<uint8_t>(10 * i));
      take_frame(std::move(frame));
    }
    result.frames = request.frames;
    result.width = request.width;
    result.height = request.height;
    result.seconds.denoise = 2;
    behaviour_.precisions.push_back(dtype_);
    return result;
  }
  std::string dtype() const override { return dtype_; }
  TextEncoderPlace text_encoder() const override { return place_; }
  bool move_text_encoder(TextEncoderPlace place) override {
    if (place <= place_) return false;
    place_ = place;
    return true;
  }

 private:
  Behaviour& behaviour_;
  std::string dtype_;
  TextEncoderPlace place_;
};

class FakeEngine : public Engine {
 public:
  explicit FakeEngine(Behaviour& behaviour) : behaviour_(behaviour) {}
  DeviceFacts device() const override { return {"cpu", "fake", 1 << 30, 1 << 30, 1}; }
  std::string torch_version() const override { return "none"; }
  std::unique_ptr<ImagePipeline> load_image_pipeline(const PipelineOptions&, Progress&) override {
    throw LoadError("", "no pictures here", "ask for clips");
  }
  std::unique_ptr<VideoPipeline> load_video_pipeline(const VideoPipelineOptions& options,
                                                     Progress&) override {
    ++behaviour_.loads;
    return std::make_unique<FakeVideoPipeline>(behaviour_, options);
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
  void item_done(const Item& item, double) override { done.push_back(item.index); }
  void item_failed(const Item&, const std::string&) override {}
  void item_retried(const Item&, const std::string&) override { ++retries; }
  void warning(const std::string& text) override { warnings.push_back(text); }
  void end(const RunTotals&) override {}
  std::vector<std::string> warnings;
  std::vector<int64_t> done;
  int retries = 0;
};

Plan plan_of(int64_t count, const fs::path& folder, const std::string& format = "png-sequence") {
  Plan plan{.name = "run", .task = Task::text_to_video, .run_folder = folder};
  plan.output.format = format;
  for (int64_t i = 0; i < count; ++i) {
    Item item;
    item.id = std::string(60, 'c') + std::to_string(1000 + i);
    item.index = i;
    item.job = "job-1";
    item.model = "/models/fake";
    item.output = "videos/" + std::to_string(i) + (is_folder_format(format) ? "" : "." + format);
    item.parameters = Json{{"prompt", "p"}, {"seed", i},   {"steps", 8},  {"guidance_scale", 5.0},
                           {"width", 16},   {"height", 8}, {"frames", 5}, {"fps", 8.0}};
    plan.items.push_back(std::move(item));
  }
  return plan;
}

struct World {
  TemporaryFolder folder;
  Behaviour behaviour;
  Listener listener;
  std::unique_ptr<FakeEngine> engine = std::make_unique<FakeEngine>(behaviour);
  LoadedPipeline loaded{*engine};

  Totals run(const Plan& plan, MakingOptions options = {}) {
    const RunInfo info{.backlot_version = "test",
                       .models = {{"/models/fake", "f00d", {}}},
                       .base_seed = RunFolder::base_seed(plan.run_folder)};
    RunFolder run_folder = RunFolder::open(plan.run_folder, plan, info);
    options.planner = std::make_shared<MemoryPlanner>(
        MemoryWish{options.precision, options.quantization, options.batch_size,
                   options.allow_lower_precision},
        MemoryStore(fs::path()), [](const Item&) {
          ModelSizes sizes;
          sizes.video.emplace();
          sizes.vae_tile = 8;
          return sizes;
        });
    run_on_one_device(loaded, plan, run_folder, options, listener, StopSignal::install());
    run_folder.write_manifest();
    return run_folder.totals();
  }
  Plan plan(int64_t count, const std::string& format = "png-sequence") const {
    return plan_of(count, folder / "run", format);
  }
  std::vector<Record> records() const {
    return read_journals(RootedFolder(folder / "run")).records;
  }
};

TEST(ClipMaker, PutsClipsInPlaceOneByOne) {
  World world;
  EXPECT_EQ(world.run(world.plan(3)).done, 3);
  EXPECT_EQ(world.behaviour.loads, 1);
  EXPECT_EQ(world.listener.done, (std::vector<int64_t>{0, 1, 2}));
  for (const auto& record : world.records()) {
    EXPECT_EQ(record.file.clip, (ClipFacts{5, 8, "png"}));
    EXPECT_EQ(record.width, 16);
    EXPECT_EQ(record.attempt.batch, 1);
    EXPECT_EQ(record.attempt.denoise, 2);
    EXPECT_TRUE(fs::exists(world.folder / "run" / record.file.path / "00004.png"));
  }
  // All is proven at the next start, and nothing made again.
  EXPECT_EQ(world.run(world.plan(3)).done, 3);
  EXPECT_EQ(world.behaviour.precisions.size(), 3u);
}

TEST(ClipMaker, MakesSingleFramesPictures) {
  World world;
  Plan plan = world.plan(2, "png");
  for (auto& item : plan.items) {
    item.output = "images/" + std::to_string(item.index) + ".png";
    item.parameters.erase("fps");
    item.parameters["frames"] = 1;
  }
  EXPECT_EQ(world.run(plan).done, 2);
  for (const auto& record : world.records()) EXPECT_EQ(record.file.clip, std::nullopt);
  const Json about = read_backlot_metadata(world.folder / "run/images/1.png");
  EXPECT_EQ(about["parameters"]["seed"], 1);
}

TEST(ClipMaker, GivesUpOneItemAlone) {
  World world;
  world.behaviour.bad_seeds = {1};
  const Totals totals = world.run(world.plan(3));
  EXPECT_EQ(totals.done, 2);
  EXPECT_EQ(totals.failed, 1);
  EXPECT_FALSE(fs::exists(world.folder / "run/videos/1"));
}

TEST(ClipMaker, TakesLessMemoryUntilItFits) {
  World world;
  world.behaviour.fits_untiled = false;
  world.behaviour.fits_with = TextEncoderPlace::while_encoding;
  world.behaviour.fits_in_float32 = false;
  MakingOptions options;
  options.precision = Precision::float32;
  options.allow_lower_precision = true;
  EXPECT_EQ(world.run(world.plan(1), options).done, 1);
  const auto record = world.records().back();
  EXPECT_EQ(record.attempt.dtype, "bfloat16");
  EXPECT_EQ(record.attempts, 4);
  EXPECT_EQ(record.attempt.warnings,
            (std::vector<std::string>{"out of memory; decoded in tiles",
                                      "out of memory; text encoder only while prompts are encoded",
                                      "out of memory; bfloat16 in place of float32"}));
  EXPECT_EQ(world.listener.retries, 3);
}

TEST(ClipMaker, FailsWhatNeverFits) {
  World world;
  world.behaviour.fits_in_float32 = false;
  MakingOptions options;
  options.precision = Precision::float32;
  EXPECT_EQ(world.run(world.plan(1), options).failed, 1);
  EXPECT_NE(world.records().back().error.find("out of memory"), std::string::npos);
}

TEST(ClipMaker, GoesOnFromWhatAnEarlierTryKept) {
  World world;
  world.behaviour.stops_after = 2;
  MakingOptions options;
  options.checkpoint_steps = 3;
  EXPECT_THROW(world.run(world.plan(1), options), Interrupted);
  EXPECT_FALSE(fs::exists(world.folder / "run/videos/0")) << "half a clip in place";
  world.behaviour.stops_after.reset();
  EXPECT_EQ(world.run(world.plan(1), options).done, 1);
  EXPECT_EQ(world.behaviour.resumed_from, (std::vector<std::string>{"", "after step 6"}));
  EXPECT_FALSE(fs::exists(world.folder / "run/.backlot-work"));
}

TEST(ClipMaker, KeepsNothingWhereNothingIsWanted) {
  World world;
  world.behaviour.stops_after = 2;
  MakingOptions options;
  options.checkpoint_steps = 0;
  EXPECT_THROW(world.run(world.plan(1), options), Interrupted);
  EXPECT_FALSE(fs::exists(world.folder / "run/.backlot-work"));
}

TEST(ClipOutput, MeansWhatTheSettingsSay) {
  OutputSettings output;
  output.format = "webm";
  output.codec = "av1";
  output.crf = 30;
  output.bit_depth = 10;
  output.max_bytes = 1000;
  const VideoSettings settings = video_settings(output, 23.976);
  EXPECT_EQ(settings.format, VideoFormat::webm);
  EXPECT_EQ(settings.codec, "av1");
  EXPECT_EQ(settings.crf, 30);
  EXPECT_EQ(settings.bit_depth, 10);
  EXPECT_EQ(settings.max_bytes, 1000u);
  EXPECT_EQ(settings.rate.num, 24000);
  EXPECT_EQ(settings.rate.den, 1001);
}

}  // namespace
}  // namespace backlot
