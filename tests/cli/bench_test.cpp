// `backlot bench` as a user runs it, with the bundled model and as little work as it takes.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <fstream>
#include <set>
#include <thread>

#include "base/files.h"
#include "base/json.h"
#include "support/command.h"
#include "support/schema.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

using namespace std::chrono_literals;

const std::string pocket = std::string(BACKLOT_SOURCE_DIR) + "/models/pocket-xl";

Json bench_schema() {
  return Json::parse(read_file(std::string(BACKLOT_SOURCE_DIR) + "/docs/schema/bench.schema.json"));
}

void expect_valid(const Json& result) {
  for (const auto& problem : schema_problems(result, bench_schema())) ADD_FAILURE() << problem;
}

// A suite with the fewest steps, repeats and pixels.
std::vector<std::string> small(const std::string& suite, std::vector<std::string> more = {}) {
  std::vector<std::string> words{"bench",     suite,    "--model",   pocket,    "--device",
                                 "cpu",       "--size", "64x64",     "--steps", "1",
                                 "--repeats", "2",      "--warm-up", "0"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

// Every repeat of every case takes its median times `factor`.
void scale(Json& result, double factor) {
  for (auto& each : result["cases"])
    for (auto& seconds : each["seconds"]) seconds = each["median"].get<double>() * factor;
}

TEST(BenchImage, WritesWhatTheSchemaSays) {
  TemporaryFolder work;
  const auto result = backlot(small("image", {"--batch-size", "1,2", "--dtype", "float32", "-o",
                                              "out", "--trace", "trace.json"}),
                              {.folder = work.path()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("pictures/s"), std::string::npos) << result.out;
  const Json json = Json::parse(read_file(work / "out" / "bench.json"));
  expect_valid(json);
  ASSERT_EQ(json["cases"].size(), 2u);
  EXPECT_EQ(json["cases"][1]["name"],
            "image/pocket-xl/cpu/float32/64x64/steps-1/guidance-5/batch-2");
  EXPECT_EQ(json["cases"][1]["seconds"].size(), 2u);
  for (const auto* stage : {"text_encode", "denoise", "decode", "step"})
    EXPECT_GT(json["cases"][1]["stages"][stage][0], 0) << stage;
  EXPECT_TRUE(json["complete"]);
  EXPECT_FALSE(json["timelines"].empty());
  const std::string page = read_file(work / "out" / "report.html");
  EXPECT_NE(page.find("<svg"), std::string::npos);
  EXPECT_NE(page.find("pocket-xl/<wbr>cpu/<wbr>float32"), std::string::npos);

  std::set<std::string> stages;
  const Json trace = Json::parse(read_file(work / "trace.json"));
  for (const auto& event : trace["traceEvents"])
    if (event["ph"] == "X") stages.insert(event["name"]);
  for (const auto* stage : {"load", "text_encode", "denoise", "step 1/1", "decode"})
    EXPECT_TRUE(stages.contains(stage)) << stage;
}

TEST(BenchLoad, StartsTheProgramAnew) {
  const auto result = backlot(small("load", {"--json", "-q"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json json = Json::parse(result.out);
  expect_valid(json);
  std::set<std::string> names;
  for (const auto& each : json["cases"]) {
    names.insert(each["name"]);
    EXPECT_TRUE(each["error"].is_null()) << each.dump();
    EXPECT_GT(each["median"], 0);
  }
  EXPECT_TRUE(names.contains("load/pocket-xl/cpu/auto/first-picture/warm"));
  EXPECT_TRUE(names.contains("load/pocket-xl/cpu/auto/weights/warm"));
  EXPECT_TRUE(names.contains("load/pocket-xl/files/warm"));
}

// The tests' model, but for sizes that groups of weights divide: its config alone.
TEST(BenchLanguage, MeasuresModelsThatAreOnlySizes) {
  TemporaryFolder work;
  fs::create_directories(work / "tiny");
  Json config = Json::parse(read_file(BACKLOT_TEST_DATA "/oracles/qwen2.5/model/config.json"));
  config["hidden_size"] = 64;
  std::ofstream(work / "tiny" / "config.json") << config;
  for (const std::string quantize : {"none", "int4"}) {
    const auto result = backlot(
        {"bench", "language", "--synthetic", "tiny", "--device", "cpu", "--threads", "1",
         "--quantize", quantize, "--batch-size", "2", "--repeats", "2", "-o", "out", "--json"},
        {.folder = work.path()});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const Json json = Json::parse(result.out);
    expect_valid(json);
    ASSERT_EQ(json["cases"].size(), 2u);
    EXPECT_EQ(json["cases"][0]["name"],
              "language/tiny/cpu/auto/quantize-" + quantize + "/prefill-512");
    EXPECT_EQ(json["cases"][1]["name"],
              "language/tiny/cpu/auto/quantize-" + quantize + "/decode/batch-2");
    for (const auto& each : json["cases"]) {
      EXPECT_TRUE(each["error"].is_null()) << each.dump();
      EXPECT_GT(each["figures"]["tokens_per_second"], 0);
    }
    EXPECT_NE(read_file(work / "out" / "report.html").find("language: "), std::string::npos);
  }
}

// The tests' model by its configs alone.
TEST(BenchVideo, MeasuresModelsThatAreOnlySizes) {
  TemporaryFolder work;
  const std::vector<std::string> words = {
      "bench",    "video", "--synthetic", BACKLOT_TEST_DATA "/oracles/wan-t2v/model",
      "--device", "cpu",   "--dtype",     "float32",
      "--size",   "48x32", "--frames",    "1,5",
      "--steps",  "2",     "--repeats",   "2",
      "-o",       "out",   "--json"};
  const auto result = backlot(words, {.folder = work.path()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.err.find("random hidden states"), std::string::npos) << result.err;
  const Json json = Json::parse(result.out);
  expect_valid(json);
  ASSERT_EQ(json["cases"].size(), 2u);
  EXPECT_EQ(json["cases"][1]["name"], "video/model/cpu/float32/48x32x5/steps-2/guidance-5");
  EXPECT_TRUE(json["cases"][1]["parameters"]["random_texts"]);
  for (const auto* stage : {"denoise", "decode", "step"})
    EXPECT_GT(json["cases"][1]["stages"][stage][0], 0) << stage;
  EXPECT_GT(json["cases"][1]["figures"]["peak_bytes"], 0);
  EXPECT_NE(read_file(work / "out" / "report.html").find("video: "), std::string::npos);
}

TEST(BenchKernels, MeasuresUnderCeilingsAndDrawsThem) {
  TemporaryFolder work;
  auto words = small("kernels", {"--filter", "vae.decoder/conv1x1", "-o", "out"});
  const auto result = backlot(words, {.folder = work.path()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json json = Json::parse(read_file(work / "out" / "bench.json"));
  expect_valid(json);
  ASSERT_FALSE(json["cases"].empty());
  ASSERT_EQ(json["ceilings"].size(), 1u);
  EXPECT_GT(json["ceilings"][0]["flops_per_second"], 0);
  for (const auto& each : json["cases"]) {
    EXPECT_NE(each["name"].get<std::string>().find("vae.decoder/conv1x1"), std::string::npos);
    EXPECT_GT(each["figures"]["of_ceiling"], 0);
    EXPECT_GT(each["figures"]["share"], 0);
  }
  EXPECT_NE(read_file(work / "out" / "report.html").find("class=\"roof\""), std::string::npos);
}

TEST(BenchFleet, ComparesNumbersOfWorkers) {
  const auto result = backlot(small("fleet", {"--threads", "2", "--json", "-q"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json json = Json::parse(result.out);
  expect_valid(json);
  ASSERT_EQ(json["cases"].size(), 2u) << json.dump();
  EXPECT_EQ(json["cases"][0]["parameters"]["workers"], 1);
  EXPECT_EQ(json["cases"][0]["figures"]["speed_up"], 1.0);
  EXPECT_EQ(json["cases"][1]["parameters"]["threads_each"], 1);
  EXPECT_GT(json["cases"][1]["figures"]["speed_up"], 0.0);
}

TEST(BenchFilter, KeepsCasesByName) {
  const auto result =
      backlot(small("image", {"--batch-size", "1,2,3", "--filter", "batch-2", "--json", "-q"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(Json::parse(result.out)["cases"].size(), 1u);
}

TEST(BenchBaseline, ARegressionEndsWithOne) {
  TemporaryFolder work;
  const auto options = [&](std::vector<std::string> more) {
    return small("image", std::move(more));
  };
  ASSERT_EQ(backlot(options({"-o", "before.json"}), {.folder = work.path()}).exit_code, 0);
  const Json before = Json::parse(read_file(work / "before.json"));
  // A thousandth and a thousand times of what was measured: a stall of either repeat, which counts
  // as noise, comes near to neither.
  Json fast = before, slow = before;
  scale(fast, 0.001);
  scale(slow, 1000);
  slow["machine"]["cpu"] = "another";
  slow["cases"].push_back(before["cases"][0]);
  slow["cases"].back()["name"] = "image/that/was/once";
  std::ofstream(work / "fast.json") << fast;
  std::ofstream(work / "slow.json") << slow;

  const auto worse =
      backlot(options({"--baseline", "fast.json", "--repeats", "1"}), {.folder = work.path()});
  EXPECT_EQ(worse.exit_code, 1);
  EXPECT_NE(worse.out.find("SLOWER"), std::string::npos) << worse.out;
  EXPECT_NE(worse.err.find("slower than the baseline"), std::string::npos) << worse.err;

  const auto better = backlot(options({"--baseline", "slow.json", "--threshold", "20", "--json"}),
                              {.folder = work.path()});
  EXPECT_EQ(better.exit_code, 0) << better.err;
  EXPECT_NE(better.err.find("another machine"), std::string::npos) << better.err;
  EXPECT_NE(better.err.find("image/that/was/once: in the baseline, but not measured now"),
            std::string::npos)
      << better.err;
  const Json json = Json::parse(better.out);
  expect_valid(json);
  EXPECT_EQ(json["comparison"]["cases"][0]["verdict"], "faster");
  EXPECT_EQ(json["comparison"]["threshold"], 0.2);
}

TEST(BenchMistakes, AreSaidInOneLine) {
  TemporaryFolder work;
  std::ofstream(work / "other.json") << "{\"version\": 1}";
  std::ofstream(work / "broken.json") << "{";
  const std::string talker = BACKLOT_TEST_DATA "/oracles/qwen2.5/model";
  const std::string clips = BACKLOT_TEST_DATA "/oracles/wan-t2v/model";
  struct Mistake {
    std::vector<std::string> arguments;
    int code;
    std::string said;
  };
  const Mistake mistakes[] = {
      {{"bench", "imge"}, 2, "did you mean image?"},
      {{"bench", "--steps", "1,x"}, 2, "'x'"},
      {{"bench", "--size", "100x64"}, 2, "100x64"},
      {{"bench", "--size", "64"}, 2, "512x512"},
      {{"bench", "--batch-size", "0"}, 2, "'0'"},
      {{"bench", "--batch-size", "1,,2"}, 2, "empty entry"},
      {{"bench", "--dtype", "int3"}, 2, "int3"},
      {{"bench", "--device", "tpu"}, 2, "tpu"},
      {{"bench", "--device", "cuda:99"}, 3, "cuda:99"},
      {{"bench", "--model", "nowhere"}, 3, "nowhere"},
      {{"bench", "--synthetic", "sdlx"}, 2, "did you mean sdxl?"},
      {{"bench", "image", "--synthetic", "wan-1.3b"}, 2, "bench video --synthetic wan-1.3b"},
      {{"bench", "image", "--synthetic", "qwen3-vl-4b"},
       2,
       "bench kernels --synthetic qwen3-vl-4b"},
      {{"bench", "image", "--model", clips}, 2, "bench video"},
      {{"bench", "kernels", "--synthetic", clips}, 2, "bench video"},
      {{"bench", "video", "--synthetic", "sdxl"}, 2, "is no video model"},
      {{"bench", "video", "--model", talker}, 2, "is no video model"},
      {{"bench", "video", "--synthetic", clips, "--size", "40x40"}, 2, "multiples of 16"},
      {{"bench", "video", "--synthetic", clips, "--batch-size", "2"}, 2, "--batch-size"},
      {{"bench", "image", "--frames", "5"}, 2, "--frames"},
      {{"bench", "load", "--synthetic", "sdxl"}, 2, "--model"},
      {{"bench", "language", "--synthetic", "sdxl"}, 2, "is no language model"},
      {{"bench", "kernels", "--synthetic", "smollm2-135m"}, 2, "bench language --synthetic smoll"},
      {{"bench", "image", "--model", talker}, 2, "bench language"},
      {{"bench", "language", "--model", talker, "--steps", "3"}, 2, "--steps"},
      {{"bench", "image", "--quantize", "int4"}, 2, "--quantize"},
      {{"bench", "--threshold", "5"}, 2, "--baseline"},
      {{"bench", "--baseline", "none.json"}, 2, "none.json"},
      {{"bench", "--baseline", "other.json"}, 2, "not what 'backlot bench' writes"},
      {{"bench", "--baseline", "broken.json"}, 2, "broken.json"},
      {{"bench", "--baseline", "."}, 2, "bench.json"},
      {{"bench", "-o", "other.json/x"}, 3, "other.json"},
      {{"bench", "image", "--filter", "no-such-case"}, 2, "no-such-case"},
  };
  for (const auto& mistake : mistakes) {
    const auto result = backlot(mistake.arguments, {.folder = work.path()});
    EXPECT_EQ(result.exit_code, mistake.code) << mistake.said << "\n" << result.err;
    EXPECT_NE(result.err.find(mistake.said), std::string::npos) << result.err;
    EXPECT_TRUE(result.out.empty()) << result.out;
  }
}

TEST(BenchInterrupted, KeepsWhatWasMeasured) {
  TemporaryFolder work;
  // The second case would take minutes; its messages say when the first is done.
  Process process({"bash",
                   "-c",
                   "exec \"$0\" \"$@\" 2>log",
                   BACKLOT_BINARY,
                   "bench",
                   "image",
                   "--model",
                   pocket,
                   "--device",
                   "cpu",
                   "--size",
                   "64x64",
                   "--steps",
                   "1,1000",
                   "--repeats",
                   "5",
                   "--batch-size",
                   "16",
                   "-o",
                   "out"},
                  {.folder = work.path()});
  const auto first_done = [&] {
    return fs::exists(work / "log") &&
           read_file(work / "log").find("batch-16: ") != std::string::npos;
  };
  while (!first_done() && process.running()) std::this_thread::sleep_for(20ms);
  ASSERT_TRUE(process.running()) << read_file(work / "log");
  process.send(SIGINT);
  const auto start = std::chrono::steady_clock::now();
  const auto result = process.wait();
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
  EXPECT_EQ(result.exit_code, 130) << result.err;
  const Json json = Json::parse(read_file(work / "out" / "bench.json"));
  expect_valid(json);
  EXPECT_FALSE(json["complete"]);
  EXPECT_EQ(json["cases"].size(), 1u);
  EXPECT_NE(read_file(work / "out" / "report.html").find("Interrupted"), std::string::npos);
}

TEST(BenchInterrupted, LeavesNoWorkerBehind) {
  TemporaryFolder work, scratch;
  Process process({BACKLOT_BINARY, "bench", "fleet", "--model", pocket, "--device", "cpu", "--size",
                   "64x64", "--steps", "1000", "--threads", "2"},
                  {.folder = work.path(), .environment = {{"TMPDIR", scratch.path().string()}}});
  std::this_thread::sleep_for(1500ms);
  process.send(SIGTERM);
  EXPECT_EQ(process.wait().exit_code, 143);
  EXPECT_TRUE(fs::is_empty(scratch.path())) << "workers and their folders go with the benchmark";
}

TEST(GenerateTrace, HasASpanForEveryStageOfEveryPicture) {
  TemporaryFolder work;
  const auto result = backlot({"generate",
                               "--model",
                               pocket,
                               "--prompt",
                               "a pear",
                               "--count",
                               "3",
                               "--steps",
                               "2",
                               "--width",
                               "64",
                               "--height",
                               "64",
                               "--seed",
                               "1",
                               "--device",
                               "cpu",
                               "--progress",
                               "off",
                               "-o",
                               "run",
                               "--trace",
                               "traces/run.json"},
                              {.folder = work.path()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  std::map<std::string, std::set<std::string>> items;  // by stage
  std::set<std::string> names;
  const Json trace = Json::parse(read_file(work / "traces" / "run.json"));
  for (const auto& event : trace["traceEvents"]) {
    if (event["ph"] == "b") items[event["name"]].insert(event["id"].get<std::string>());
    if (event["ph"] == "X") names.insert(event["name"]);
  }
  for (const auto* stage : {"text_encode", "denoise", "decode", "write"})
    EXPECT_EQ(items[stage].size(), 3u) << stage;
  for (const auto* name : {"load", "step 1/2", "step 2/2"})
    EXPECT_TRUE(names.contains(name)) << name;
}

}  // namespace
}  // namespace backlot
