// Clips by the built binary: the reference's frames, every format, runs that were killed.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <thread>

#include "media/metadata.h"
#include "media/picture_io.h"
#include "media/video_reader.h"
#include "support/command.h"
#include "support/run_dir.h"
#include "support/temporary_folder.h"
#include "support/tiny_runs.h"

namespace backlot {
namespace {

using namespace std::chrono_literals;

const fs::path oracles = fs::path(BACKLOT_TEST_DATA) / "oracles";
const std::string model = (oracles / "wan-t2v" / "model").string();

Json item_of(const fs::path& run, size_t index = 0) { return read_manifest(run)["items"][index]; }

// The shortest clip, into out/clip.
std::vector<std::string> tiny(std::vector<std::string> more = {}, const char* steps = "2") {
  std::vector<std::string> arguments = {"generate",  "--model",
                                        model,       "--prompt",
                                        "a red fox", "--seed",
                                        "3",         "--width",
                                        "48",        "--height",
                                        "32",        "--steps",
                                        steps,       "--max-sequence-length",
                                        "32",        "--device",
                                        "cpu",       "--dtype",
                                        "float32",   "--progress",
                                        "off",       "-o",
                                        "clip"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

std::map<std::string, std::string> files_of(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder))
    files[entry.path().filename()] = read_file(entry.path());
  return files;
}

class VideoOracle : public ::testing::TestWithParam<const char*> {};

TEST_P(VideoOracle, EqualsTheReference) {
  const fs::path folder = oracles / GetParam();
  const Json the_case = Json::parse(read_file(folder / "case.json"));
  Json job = Json::object();
  for (const auto& [key, value] : the_case["job"].items())
    if (!value.is_null()) job[key] = value;
  TemporaryFolder work;
  const Json spec = {
      {"version", 1},
      {"name", "case"},
      {"task", "text-to-video"},
      {"model", fs::weakly_canonical(folder / the_case["model"].get<std::string>()).string()},
      {"jobs", Json::array({job})},
      {"output", {{"format", "png-sequence"}}}};
  std::ofstream(work / "case.yaml") << spec.dump(1);
  const auto result = backlot(
      {"generate", "case.yaml", "--device", "cpu", "--dtype", "float32", "--progress", "off"},
      {.folder = work.path()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json item = item_of(work / "out" / "case");
  const auto& references = the_case["expected"]["images"];
  EXPECT_EQ(item["frames"], references.size());
  EXPECT_EQ(item["codec"], "png");
  for (size_t i = 0; i < references.size(); ++i) {
    char name[16];
    std::snprintf(name, sizeof name, "%05zu.png", i);
    const Picture made =
        decode_picture(work / "out" / "case" / item["output"].get<std::string>() / name).picture;
    const Picture expected =
        decode_picture(folder / "expected" / references[i].get<std::string>()).picture;
    ASSERT_EQ(made.rgb.size(), expected.rgb.size());
    int worst = 0;
    for (size_t j = 0; j < made.rgb.size(); ++j)
      worst = std::max(worst, std::abs(int{made.rgb[j]} - int{expected.rgb[j]}));
    EXPECT_LE(worst, 1) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, VideoOracle,
                         ::testing::Values("wan-t2v", "wan-t2v-floweuler", "wan22-t2v"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

TEST(Videos, ArePlayableAndSayWhatMadeThem) {
  TemporaryFolder work;
  const auto result = backlot(tiny({"--frames", "9", "--fps", "8"}), {.folder = work.path()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json item = item_of(work / "clip");
  EXPECT_EQ(item["output"], "videos/00000-a-red-fox-3.mp4");
  EXPECT_EQ(item["codec"], "h264");
  EXPECT_EQ(item["frames"], 9);
  EXPECT_EQ(item["fps"], 8.0);
  EXPECT_EQ(item["width"], 48);
  const fs::path file = work / "clip" / item["output"].get<std::string>();
  EXPECT_EQ(sha256_file(file), item["sha256"].get<std::string>());
  VideoReader reader(file);
  EXPECT_EQ(reader.facts().frames, 9);
  EXPECT_EQ(reader.facts().rate.num / reader.facts().rate.den, 8);
  Picture frame;
  int64_t frames = 0;
  while (reader.next(frame)) ++frames;
  EXPECT_EQ(frames, 9);
  const Json about = read_backlot_metadata(file);
  EXPECT_EQ(about["parameters"]["prompt"], "a red fox");
  EXPECT_EQ(about["parameters"]["frames"], 9);
}

TEST(Videos, AreMadeAgainFromWhatTheySay) {
  TemporaryFolder work;
  ASSERT_EQ(backlot(tiny({"--frames", "5"}), {.folder = work.path()}).exit_code, 0);
  const std::string file = "clip/" + item_of(work / "clip")["output"].get<std::string>();
  const auto again = backlot({"generate", "--from", file, "--model", model, "--device", "cpu",
                              "--dtype", "float32", "--progress", "off", "-o", "again"},
                             {.folder = work.path()});
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(item_of(work / "again")["sha256"], item_of(work / "clip")["sha256"]);
}

TEST(Videos, WithoutFramesArePictures) {
  TemporaryFolder work;
  const auto result = backlot(tiny(), {.folder = work.path()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json item = item_of(work / "clip");
  EXPECT_EQ(item["output"], "images/00000-a-red-fox-3.png");
  EXPECT_FALSE(item.contains("fps"));
  expect_complete(work / "clip", 1);
}

TEST(Videos, AreMadeByAFleet) {
  TemporaryFolder work;
  std::ofstream(work / "run.yaml")
      << "version: 1\nname: run\ntask: text-to-video\nmodel: " << model
      << "\ndefaults: {width: 48, height: 32, steps: 2, frames: 5, max_sequence_length: 32}\n"
         "output: {format: webm}\njobs:\n  - {prompt: a red fox, seed: 1, count: 3}\n";
  const auto result = backlot(
      {"fleet-run", "run.yaml", "--devices", "cpu,cpu", "--dtype", "float32", "--progress", "off"},
      {.folder = work.path()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  expect_complete(work / "out/run", 3);
  EXPECT_EQ(item_of(work / "out/run", 2)["codec"], "vp9");
}

TEST(Videos, ComeFromTheCache) {
  TemporaryFolder work;
  const auto command = tiny({"--frames", "5", "--cache-dir", "cache", "--json"});
  ASSERT_EQ(backlot(command, {.folder = work.path()}).exit_code, 0);
  const Json before = item_of(work / "clip");
  fs::remove_all(work / "clip");
  const auto again = backlot(command, {.folder = work.path()});
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(Json::parse(again.out)["cached"], 1);
  const Json after = item_of(work / "clip");
  EXPECT_EQ(after["sha256"], before["sha256"]);
  EXPECT_EQ(after["frames"], 5);
  expect_complete(work / "clip", 1);
}

// -9 in the middle of the steps: the rerun goes on from the checkpoint and gives the same bytes.
TEST(KilledVideos, GoOnWithTheSameBytes) {
  TemporaryFolder work;
  const std::vector<std::string> more = {"--frames",           "9", "--format", "png-sequence",
                                         "--checkpoint-steps", "1", "-v"};
  auto command = tiny(more, "60");
  Process process(with_binary(command), {.folder = work.path()});
  const fs::path waiting = work / "clip" / ".backlot-work";
  const auto kept = [&] {
    std::error_code error;
    return std::ranges::any_of(fs::directory_iterator(waiting, error), [](const auto& entry) {
      return entry.path().extension() == ".checkpoint";
    });
  };
  while (!kept() && process.running()) std::this_thread::sleep_for(1ms);
  process.send(SIGKILL);
  const auto killed = process.wait();
  ASSERT_EQ(killed.signal, SIGKILL) << killed.err;
  ASSERT_TRUE(kept()) << "it was through before it was killed";
  const auto rest = backlot(command, {.folder = work.path()});
  ASSERT_EQ(rest.exit_code, 0) << rest.err;
  EXPECT_NE(rest.err.find("went on from step"), std::string::npos) << rest.err;
  EXPECT_FALSE(fs::exists(waiting));

  *std::ranges::find(command, "clip") = "whole";
  ASSERT_EQ(backlot(command, {.folder = work.path()}).exit_code, 0);
  const std::string output = item_of(work / "whole")["output"];
  EXPECT_EQ(item_of(work / "clip")["sha256"], item_of(work / "whole")["sha256"]);
  const auto frames = files_of(work / "whole" / output);
  EXPECT_EQ(frames.size(), 9u);
  EXPECT_EQ(files_of(work / "clip" / output), frames);
}

TEST(Videos, WithAStepCacheSayWhatItSaved) {
  TemporaryFolder work;
  const auto command = tiny({"--frames", "5", "--step-cache", "10"}, "5");
  auto dry = command;
  dry.emplace_back("--dry-run");
  const auto plan = backlot(dry, {.folder = work.path()});
  EXPECT_NE(plan.out.find("5 steps (step cache 10)"), std::string::npos) << plan.out;
  const auto made = backlot(command, {.folder = work.path()});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  expect_complete(work / "clip", 1);
  const Json item = item_of(work / "clip");
  EXPECT_EQ(item["parameters"]["step_cache"], 10.0);
  // All but those of the first and the last step.
  const std::string saved =
      "step cache: 6 of 10 evaluations of the transformer reused an earlier one's";
  EXPECT_EQ(item["warnings"], Json::array({saved}));
  EXPECT_EQ(made.err.find("step cache"), std::string::npos) << "nobody is warned: " << made.err;
}

TEST(Videos, SayInADryRunWhatTheyTake) {
  TemporaryFolder work;
  const auto result = backlot(tiny({"--frames", "81", "--dry-run"}), {.folder = work.path()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("1 × 48x32 x 81 frames at 16 fps, 2 steps"), std::string::npos)
      << result.out;
  EXPECT_NE(result.out.find("the clip "), std::string::npos) << result.out;
  EXPECT_FALSE(fs::exists(work / "clip"));
}

struct Refused {
  std::vector<std::string> arguments;
  int exit_code;
  std::string says;
};

TEST(Videos, RefuseWhatCantBeHad) {
  TemporaryFolder work;
  const Refused all[] = {
      {{"--frames", "9", "--quantize", "int8"}, 2, "not available for video models"},
      {{"--frames", "9", "--format", "webm", "--set", "output.codec=h264"}, 2, "codec: "},
      {{"--frames", "9", "--format", "jpeg"}, 2, "is for pictures"},
      {{"--frames", "9", "--clip-skip", "1"}, 2, "clip_skip"},
      {{"--frames", "9", "--set", "defaults.width=40"}, 2, "multiples of 16"},
      {{"--frames", "9", "--scheduler", "euler"}, 2, "scheduler: \"euler\" does not go with"},
      {{"--frames", "9", "--scheduler", "{\"_class_name\": \"EulerDiscreteScheduler\"}"},
       2,
       "does not sample flows"},
      {{"--frames", "9", "--task", "text-to-image"}, 2, "frames"}};
  for (const auto& [arguments, exit_code, says] : all) {
    const auto result = backlot(tiny(arguments), {.folder = work.path()});
    EXPECT_EQ(result.exit_code, exit_code) << says;
    EXPECT_NE(result.err.find(says), std::string::npos) << result.err;
  }
  EXPECT_FALSE(fs::exists(work / "clip"));
}

}  // namespace
}  // namespace backlot
