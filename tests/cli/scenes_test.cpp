// Clips of several prompts by the built binary: every format, again from what they say, killed.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <thread>

#include "media/metadata.h"
#include "media/video_reader.h"
#include "support/command.h"
#include "support/run_dir.h"
#include "support/temporary_folder.h"
#include "support/tiny_runs.h"

namespace backlot {
namespace {

using namespace std::chrono_literals;

const std::string model = (fs::path(BACKLOT_TEST_DATA) / "oracles" / "wan-t2v" / "model").string();

Json item_of(const fs::path& run) { return read_manifest(run)["items"][0]; }

// Two scenes that share two of 5 + 9 frames, as a spec.
void write_spec(const fs::path& folder, const std::string& output, int steps = 2) {
  std::ofstream(folder / "clip.yaml")
      << "version: 1\ntask: text-to-video\nmodel: " << model
      << "\ndefaults: {width: 48, height: 32, max_sequence_length: 32, steps: " << steps
      << "}\noutput: {" << output
      << "}\njobs:\n"
         "  - seed: 3\n"
         "    frames: 5\n"
         "    fps: 8\n"
         "    transition: crossfade\n"
         "    transition_frames: 2\n"
         "    scenes:\n"
         "      - a red fox\n"
         "      - {prompt: \"a {grey} hare\", frames: 9, seed: 7}\n";
}

std::vector<std::string> on_the_cpu(std::vector<std::string> arguments) {
  for (const char* more : {"--device", "cpu", "--dtype", "float32", "--progress", "off"})
    arguments.emplace_back(more);
  return arguments;
}

std::map<std::string, std::string> files_of(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder))
    files[entry.path().filename()] = read_file(entry.path());
  return files;
}

class SceneFormats : public ::testing::TestWithParam<const char*> {};

TEST_P(SceneFormats, AreOneFile) {
  TemporaryFolder work;
  write_spec(work.path(), std::string("format: ") + GetParam());
  const auto made =
      backlot(on_the_cpu({"generate", "clip.yaml", "-o", "clip"}), {.folder = work.path()});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  const Json item = item_of(work / "clip");
  EXPECT_EQ(item["frames"], 12);
  EXPECT_EQ(item["parameters"]["frames"], 12);
  EXPECT_EQ(item["scenes"],
            (Json{{{"prompt", "a red fox"}, {"seed", 3}, {"first_frame", 0}, {"frames", 5}},
                  {{"prompt", "a grey hare"}, {"seed", 7}, {"first_frame", 3}, {"frames", 9}}}));
  const fs::path output = work / "clip" / item["output"].get<std::string>();
  EXPECT_EQ(read_backlot_metadata(output)["parameters"]["scenes"][1]["prompt"], "a grey hare");
  if (fs::is_directory(output)) {
    EXPECT_EQ(files_of(output).size(), 12u);
    return;
  }
  VideoReader reader(output);
  Picture frame;
  int64_t frames = 0;
  while (reader.next(frame)) ++frames;
  EXPECT_EQ(frames, 12);
}

INSTANTIATE_TEST_SUITE_P(Formats, SceneFormats,
                         ::testing::Values("mp4", "webm", "gif", "png-sequence"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::erase(name, '-');
                           return name;
                         });

TEST(Scenes, KeepToTheLimitOfAFile) {
  TemporaryFolder work;
  const auto bytes_with = [&](const std::string& output) -> uint64_t {
    write_spec(work.path(), output);
    const auto made = backlot(on_the_cpu({"generate", "clip.yaml", "--fresh", "-o", "clip"}),
                              {.folder = work.path()});
    EXPECT_EQ(made.exit_code, 0) << made.err;
    return item_of(work / "clip")["bytes"];
  };
  const uint64_t whole = bytes_with("format: mp4, quality: 100");
  const uint64_t most = whole * 3 / 4;
  EXPECT_LE(bytes_with("format: mp4, quality: 100, max_bytes: " + std::to_string(most)), most);
}

TEST(Scenes, AreGivenByOptionsAndMadeAgainFromWhatTheySay) {
  TemporaryFolder work;
  const auto made = backlot(on_the_cpu({"generate",
                                        "--model",
                                        model,
                                        "--scene",
                                        "a fox",
                                        "--scene",
                                        "a \\{hare\\}",
                                        "--frames",
                                        "5",
                                        "--seed",
                                        "3",
                                        "--width",
                                        "48",
                                        "--height",
                                        "32",
                                        "--steps",
                                        "2",
                                        "--max-sequence-length",
                                        "32",
                                        "--transition",
                                        "crossfade",
                                        "--transition-frames",
                                        "1",
                                        "-o",
                                        "clip"}),
                            {.folder = work.path()});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  const Json item = item_of(work / "clip");
  EXPECT_EQ(item["frames"], 9);
  EXPECT_EQ(item["scenes"][1]["prompt"], "a {hare}");
  EXPECT_EQ(item["scenes"][1]["seed"], 4);
  const std::string file = "clip/" + item["output"].get<std::string>();
  const auto again =
      backlot(on_the_cpu({"generate", "--from", file, "--model", model, "-o", "again"}),
              {.folder = work.path()});
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(item_of(work / "again")["id"], item["id"]);
  EXPECT_EQ(item_of(work / "again")["sha256"], item["sha256"]);
  // What is said of all scenes is laid over their own.
  const auto other = backlot(on_the_cpu({"generate", "--from", file, "--model", model, "--seed",
                                         "8", "--transition", "cut", "--dry-run", "--json"}),
                             {.folder = work.path()});
  ASSERT_EQ(other.exit_code, 0) << other.err;
  const Json scenes = Json::parse(other.out)["plan"][0]["scenes"];
  EXPECT_EQ(scenes[1]["seed"], 9);
  EXPECT_EQ(scenes[1]["first_frame"], 5);
}

TEST(Scenes, AreInTheDryRun) {
  TemporaryFolder work;
  write_spec(work.path(), "format: mp4");
  const auto result =
      backlot(on_the_cpu({"generate", "clip.yaml", "--dry-run"}), {.folder = work.path()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("1 × 48x32 x 12 frames at 8 fps in 2 scene(s), 2 steps"),
            std::string::npos)
      << result.out;
  EXPECT_NE(result.out.find("a red fox / a grey hare"), std::string::npos) << result.out;
}

// -9 in the second scene: the rerun goes on from there, and gives the same bytes.
TEST(KilledScenes, GoOnWithTheSameBytes) {
  TemporaryFolder work;
  constexpr int steps = 40;
  write_spec(work.path(), "format: png-sequence", steps);
  const auto command = [](const char* folder) {
    return on_the_cpu({"generate", "clip.yaml", "--checkpoint-steps", "1", "-v", "-o", folder});
  };
  Process process(with_binary(command("clip")), {.folder = work.path()});
  const fs::path waiting = work / "clip" / ".backlot-work";
  // Its first line says how many steps of all are through.
  const auto steps_kept = [&]() -> int64_t {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(waiting, error)) {
      if (entry.path().extension() != ".checkpoint") continue;
      std::ifstream file(entry.path(), std::ios::binary);
      std::string line;
      std::getline(file, line);
      const Json head = Json::parse(line.substr(std::min<size_t>(64, line.size())), nullptr, false);
      if (head.is_object()) return head["done"];
    }
    return 0;
  };
  while (steps_kept() <= steps && process.running()) std::this_thread::sleep_for(1ms);
  process.send(SIGKILL);
  const auto killed = process.wait();
  ASSERT_EQ(killed.signal, SIGKILL) << killed.err;
  const int64_t kept = steps_kept();
  ASSERT_GT(kept, steps);
  ASSERT_LT(kept, 2 * steps) << "it was through before it was killed";
  const auto rest = backlot(command("clip"), {.folder = work.path()});
  ASSERT_EQ(rest.exit_code, 0) << rest.err;
  EXPECT_NE(rest.err.find("went on from step " + std::to_string(kept)), std::string::npos)
      << rest.err;
  EXPECT_FALSE(fs::exists(waiting));

  ASSERT_EQ(backlot(command("whole"), {.folder = work.path()}).exit_code, 0);
  EXPECT_EQ(item_of(work / "clip")["sha256"], item_of(work / "whole")["sha256"]);
  const std::string output = item_of(work / "whole")["output"];
  const auto frames = files_of(work / "whole" / output);
  EXPECT_EQ(frames.size(), 12u);
  EXPECT_EQ(files_of(work / "clip" / output), frames);
}

TEST(Scenes, AreRefusedWithTheirPlace) {
  TemporaryFolder work;
  std::ofstream(work / "clip.yaml") << "version: 1\ntask: text-to-video\nmodel: " << model
                                    << "\njobs:\n"
                                       "  - scenes:\n"
                                       "      - a fox\n"
                                       "      - {prompt: a hare, start: last_frame}\n";
  const auto result = backlot({"generate", "clip.yaml"}, {.folder = work.path()});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.err.find("clip.yaml:7:26: scenes entry 2 has start"), std::string::npos)
      << result.err;
  const auto both = backlot({"generate", "--model", model, "--scene", "a", "--prompt", "b"},
                            {.folder = work.path()});
  EXPECT_EQ(both.exit_code, 2);
  EXPECT_NE(both.err.find("prompt and scenes are given"), std::string::npos) << both.err;
  const auto beside = backlot({"generate", "clip.yaml", "--scene", "a"}, {.folder = work.path()});
  EXPECT_EQ(beside.exit_code, 2);
  EXPECT_NE(beside.err.find("--scene"), std::string::npos) << beside.err;
}

}  // namespace
}  // namespace backlot
