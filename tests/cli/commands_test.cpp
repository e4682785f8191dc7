// The command line's contract: exit codes, one-line errors, what goes to which stream.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "base/error.h"
#include "media/metadata.h"
#include "media/picture_io.h"
#include "support/command.h"
#include "support/run_dir.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

const std::string tiny_model = std::string(BACKLOT_TEST_DATA) + "/oracles/sdxl-base/model";
const std::string pocket_model = std::string(BACKLOT_SOURCE_DIR) + "/models/pocket-xl";

std::vector<std::string> tiny(std::vector<std::string> more) {
  std::vector<std::string> all{"generate", "--model",  tiny_model, "--width",    "32",
                               "--height", "32",       "--steps",  "2",          "--dtype",
                               "float32",  "--device", "cpu",      "--progress", "off"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

struct Mistake {
  std::string name;
  std::vector<std::string> arguments;
  std::string spec;  // written to spec.yaml if not empty
  int code;
  std::string says;  // part of the error line
};

class Mistakes : public ::testing::TestWithParam<Mistake> {};

TEST_P(Mistakes, AreOneClearLineWithTheRightCode) {
  const Mistake& mistake = GetParam();
  TemporaryFolder work;
  if (!mistake.spec.empty()) std::ofstream(work / "spec.yaml") << mistake.spec;
  const auto result = backlot(mistake.arguments, {.folder = work.path()});
  EXPECT_EQ(result.exit_code, mistake.code) << result.err;
  EXPECT_EQ(result.err.rfind("backlot: error: ", 0), 0u) << result.err;
  EXPECT_NE(result.err.find(mistake.says), std::string::npos) << result.err;
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  EXPECT_TRUE(result.out.empty()) << result.out;
  EXPECT_FALSE(fs::exists(work / "out")) << "nothing was to be started";
}

const std::string head = "model: " + tiny_model + "\n";

INSTANTIATE_TEST_SUITE_P(
    Each, Mistakes,
    ::testing::Values(
        Mistake{"unknown_command", {"generat"}, "", 2, "generate"},
        Mistake{"unknown_option", {"generate", "--stesp", "3"}, "", 2, "--steps"},
        Mistake{"nothing_to_do", {"generate"}, "", 2, "spec"},
        Mistake{"missing_spec", {"generate", "none.yaml"}, "", 2, "none.yaml"},
        Mistake{
            "missing_model", {"generate", "--model", "nowhere", "--prompt", "p"}, "", 3, "nowhere"},
        Mistake{"bad_width",
                {"generate", "--model", tiny_model, "--prompt", "p", "--width", "33"},
                "",
                2,
                "--width"},
        Mistake{"bad_device", tiny({"--prompt", "p", "--device", "tpu"}), "", 2, "tpu"},
        Mistake{"trace_of_dry_run", tiny({"--prompt", "p", "--dry-run", "--trace", "t.json"}), "",
                2, "--trace"},
        Mistake{"nothing_to_lower",
                {"generate", "--model", tiny_model, "--prompt", "p", "--dtype", "bfloat16",
                 "--allow-lower-precision"},
                "",
                2,
                "--allow-lower-precision"},
        Mistake{"bad_dtype", tiny({"--prompt", "p", "--dtype", "int3"}), "", 2, "int3"},
        Mistake{"no_gpu", tiny({"--prompt", "p", "--device", "cuda:99"}), "", 3, "cuda"},
        Mistake{"unknown_key",
                {"generate", "spec.yaml"},
                head + "jobs:\n  - {promt: x}\n",
                2,
                "spec.yaml:3:6: "},
        Mistake{"unknown_key_mend",
                {"generate", "spec.yaml"},
                head + "jobs:\n  - {promt: x}\n",
                2,
                "prompt"},
        Mistake{"bad_yaml", {"generate", "spec.yaml"}, "jobs: [", 2, "spec.yaml:"},
        Mistake{"no_jobs", {"generate", "spec.yaml"}, head, 2, "jobs"},
        Mistake{"later_field",
                {"generate", "spec.yaml"},
                head + "jobs:\n  - {prompt: x, loras: [{path: a, weight: 1}]}\n",
                2,
                "spec.yaml:3"},
        Mistake{"bad_scheduler", tiny({"--prompt", "p", "--scheduler", "eular"}), "", 2, "euler"},
        Mistake{"pickled_model",
                {"generate", "--model", "spec.ckpt", "--prompt", "p"},
                "",
                3,
                "spec.ckpt"},
        Mistake{"no_run_folder", {"report", "nothing-here"}, "", 3, "nothing-here"},
        Mistake{"two_run_folders", {"report", "a", "b"}, "", 2, "--output"},
        Mistake{"nothing_to_merge", {"report", "nothing-here", "-o", "m"}, "", 3, "nothing-here"},
        Mistake{"bad_set",
                {"generate", "spec.yaml", "--set", "defaults.stesp=3"},
                head + "jobs:\n  - {prompt: x}\n",
                2,
                "steps"}),
    [](const auto& info) { return info.param.name; });

TEST(Help, HasAnExampleToPasteForEachCommand) {
  for (const char* command : {"generate", "bench", "health", "models", "report", "completion"}) {
    const auto result = backlot({command, "--help"});
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_NE(result.out.find("example:\n  "), std::string::npos) << result.out;
    EXPECT_TRUE(result.err.empty());
  }
}

TEST(Health, IsReadyHere) {
  const auto result = backlot({"health", "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.out;
  const Json report = Json::parse(result.out);
  EXPECT_TRUE(report["ready"]);
  EXPECT_EQ(report["devices"][0]["name"], "cpu");
}

TEST(Health, SaysWhatKeepsWorkFromStarting) {
  const auto result =
      backlot({"health", "--json"}, {.environment = {{"BACKLOT_TORCH", "/nowhere"}}});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_FALSE(Json::parse(result.out)["problems"].empty());
}

TEST(DryRun, SaysWhatWouldBeMadeAndTouchesNothing) {
  TemporaryFolder work;
  const auto result = backlot(tiny({"--prompt", "a {red|green} fox", "--count", "3", "--dry-run"}),
                              {.folder = work.path()});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("6"), std::string::npos) << result.out;
  EXPECT_TRUE(fs::is_empty(work.path()));
}

TEST(DryRun, HasTheMemoryPlan) {
  TemporaryFolder work;
  const CommandOptions here{.folder = work.path(),
                            .environment = {{"XDG_CACHE_HOME", (work / "cache").string()}}};
  const auto plan = [&] {
    const auto result = backlot(
        tiny({"--prompt", "a fox", "--count", "3", "--batch-size", "2", "--dry-run", "--json"}),
        here);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return Json::parse(result.out)["memory"].at(0);
  };
  const Json before = plan();
  EXPECT_EQ(before["batch"], 2);
  EXPECT_EQ(before["dtype"], "float32");
  EXPECT_EQ(before["fits"], true);
  EXPECT_EQ(before["measured"], false);
  EXPECT_GT(before["bytes"]["peak"], before["bytes"]["pictures"]);
  // What a run took is known to the next plan.
  const auto run =
      backlot(tiny({"--prompt", "a fox", "--count", "3", "--batch-size", "2", "-o", "run"}), here);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json after = plan();
  EXPECT_EQ(after["measured"], true);
  EXPECT_TRUE(fs::exists(work / "cache/backlot/memory.json"));
  const auto words =
      backlot(tiny({"--prompt", "a fox", "--count", "3", "--batch-size", "2", "--dry-run"}), here);
  EXPECT_NE(words.out.find("2 together"), std::string::npos) << words.out;
  EXPECT_NE(words.out.find("; measured)"), std::string::npos) << words.out;
}

TEST(Generate, AMemoryStoreThatCannotBeWrittenIsNoMatter) {
  TemporaryFolder work;
  std::ofstream(work / "cache") << "a file";
  const auto run = backlot(
      tiny({"--prompt", "a fox", "-o", "run"}),
      {.folder = work.path(), .environment = {{"XDG_CACHE_HOME", (work / "cache").string()}}});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_TRUE(run.err.empty()) << run.err;
}

TEST(Generate, PrintsTheRunFolderAndNothingElse) {
  TemporaryFolder work;
  const auto result =
      backlot(tiny({"--prompt", "a red fox", "--seed", "7", "-o", "fox"}), {.folder = work.path()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "fox\n");
  expect_complete(work / "fox", 1);
  for (const char* name : {"manifest.json", "report.html", "metrics.prom"})
    EXPECT_TRUE(fs::exists(work / "fox" / name)) << name;
}

TEST(Generate, KeepsADrawnSeedWhenRunAgain) {
  TemporaryFolder work;
  const auto command = tiny({"--prompt", "a red fox", "--count", "2", "-o", "fox"});
  ASSERT_EQ(backlot(command, {.folder = work.path()}).exit_code, 0);
  const Json first = read_manifest(work / "fox");
  ASSERT_EQ(backlot(command, {.folder = work.path()}).exit_code, 0);
  const Json second = read_manifest(work / "fox");
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(first["items"][i]["parameters"]["seed"], second["items"][i]["parameters"]["seed"]);
    EXPECT_EQ(first["items"][i]["started"], second["items"][i]["started"]);
  }
}

TEST(Generate, PicturesDoNotDependOnTheirBatch) {
  TemporaryFolder work;
  std::ofstream(work / "run.yaml") << "model: " << tiny_model << R"(
defaults: {width: 48, height: 32, steps: 3}
jobs:
  - {prompt: a red fox, seed: 1, count: 3}
  - {prompt: "a much longer prompt about a blue whale, in the sea", negative_prompt: dull, seed: 9, guidance_scale: 3}
)";
  const std::vector<std::string> common{"generate", "run.yaml", "--device",   "cpu",
                                        "--dtype",  "float32",  "--progress", "off"};
  for (const std::string size : {"1", "4"}) {
    auto command = common;
    command.insert(command.end(), {"--batch-size", size, "-o", "batch-" + size});
    ASSERT_EQ(backlot(command, {.folder = work.path()}).exit_code, 0);
  }
  const Json one = read_manifest(work / "batch-1"), four = read_manifest(work / "batch-4");
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(one["items"][i]["id"], four["items"][i]["id"]);
}

TEST(Generate, FromAPictureMakesTheSamePictureAgain) {
  TemporaryFolder work;
  ASSERT_EQ(backlot(tiny({"--prompt", "a red \\{fox\\|naïve\\}", "--negative-prompt", "", "--seed",
                          "7", "-o", "a"}),
                    {.folder = work.path()})
                .exit_code,
            0);
  const std::string output = read_manifest(work / "a")["items"][0]["output"];
  const auto again =
      backlot({"generate", "--from", (work / "a" / output).string(), "--model", tiny_model,
               "--dtype", "float32", "--device", "cpu", "--progress", "off", "-o", "b"},
              {.folder = work.path()});
  ASSERT_EQ(again.exit_code, 0) << again.err;
  const Json a = read_manifest(work / "a")["items"][0], b = read_manifest(work / "b")["items"][0];
  EXPECT_EQ(a["id"], b["id"]);
  EXPECT_EQ(a["sha256"], b["sha256"]);
}

TEST(Generate, LeavesNoTraceOfThePromptWithoutMetadata) {
  TemporaryFolder work;
  ASSERT_EQ(backlot(tiny({"--prompt", "confidential walrus", "--seed", "7", "-o", "a",
                          "--no-metadata", "--set", "output.name={index}"}),
                    {.folder = work.path()})
                .exit_code,
            0);
  const std::string output = read_manifest(work / "a")["items"][0]["output"];
  EXPECT_EQ(read_file(work / "a" / output).find("walrus"), std::string::npos);
  EXPECT_THROW(read_backlot_metadata(work / "a" / output), LoadError);
}

TEST(Generate, SeveralSpecsGetARunFolderEach) {
  TemporaryFolder work;
  for (const std::string name : {"one", "two"})
    std::ofstream(work / (name + ".yaml"))
        << "model: " << tiny_model
        << "\ndefaults: {width: 32, height: 32, steps: 1}\njobs: [{prompt: " << name
        << ", seed: 1}]\n";
  const auto result =
      backlot({"generate", "one.yaml", "two.yaml", "--device", "cpu", "--progress", "off"},
              {.folder = work.path()});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "out/one\nout/two\n");
}

TEST(Generate, ReportsProgressAsEventsOnStandardError) {
  TemporaryFolder work;
  auto command = tiny({"--prompt", "a red fox", "--seed", "7", "-o", "a"});
  command.insert(command.end(), {"--progress", "json"});
  command.erase(std::find(command.begin(), command.end(), "off") - 1,
                std::find(command.begin(), command.end(), "off") + 1);
  const auto result = backlot(command, {.folder = work.path()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  std::istringstream lines(result.err);
  std::vector<std::string> events;
  for (std::string line; std::getline(lines, line);) events.push_back(Json::parse(line)["event"]);
  ASSERT_FALSE(events.empty());
  EXPECT_EQ(events.front(), "begin");
  EXPECT_EQ(events.back(), "end");
  EXPECT_NE(std::find(events.begin(), events.end(), "step"), events.end());
}

TEST(PocketModel, DrawsWhatThePromptNames) {
  TemporaryFolder work;
  const auto result =
      backlot({"generate", "--model", pocket_model, "--prompt", "a red apple on a blue background",
               "--steps", "8", "--guidance-scale", "3.5", "--seed", "3", "--dtype", "float32",
               "--device", "cpu", "--progress", "off", "-o", "apple"},
              {.folder = work.path()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const fs::path run = work / "apple";
  const Picture picture =
      decode_picture(run / read_manifest(run)["items"][0]["output"].get<std::string>()).picture;
  const auto mean = [&](int64_t x0, int64_t x1, int64_t y0, int64_t y1, int channel) {
    double sum = 0;
    for (int64_t y = y0; y < y1; ++y)
      for (int64_t x = x0; x < x1; ++x)
        sum += picture.rgb[static_cast<size_t>(3 * (y * picture.width + x) + channel)];
    return sum / static_cast<double>((x1 - x0) * (y1 - y0));
  };
  // Red in the middle, blue in the corner.
  EXPECT_GT(mean(48, 80, 56, 88, 0), mean(48, 80, 56, 88, 2) + 60);
  EXPECT_GT(mean(0, 10, 0, 10, 2), mean(0, 10, 0, 10, 0) + 30);
}

// A copy of the tiny model that a test may damage.
fs::path copy_of_tiny_model(const fs::path& to) {
  fs::copy(tiny_model, to, fs::copy_options::recursive);
  for (const auto& entry : fs::recursive_directory_iterator(to))
    fs::permissions(entry, fs::perms::owner_write, fs::perm_options::add);
  return to;
}

struct Damage {
  std::string name, file, says;
  void (*inflict)(const fs::path& file);
};

class DamagedModel : public ::testing::TestWithParam<Damage> {};

TEST_P(DamagedModel, IsNamedBeforeAnythingIsMade) {
  const Damage& damage = GetParam();
  TemporaryFolder work;
  const fs::path model = copy_of_tiny_model(work / "model");
  damage.inflict(model / damage.file);
  const auto result = backlot({"generate", "--model", model.string(), "--prompt", "p", "--steps",
                               "1", "--device", "cpu", "--progress", "off", "-o", "run"},
                              {.folder = work.path()});
  EXPECT_EQ(result.exit_code, 3) << result.err;
  EXPECT_NE(result.err.find(damage.says), std::string::npos) << result.err;
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  EXPECT_FALSE(fs::exists(work / "run" / "images"));
}

const char unet_file[] = "unet/diffusion_pytorch_model.safetensors";

INSTANTIATE_TEST_SUITE_P(
    Each, DamagedModel,
    ::testing::Values(
        Damage{"truncated", unet_file, unet_file,
               [](const fs::path& file) { fs::resize_file(file, fs::file_size(file) / 2); }},
        Damage{"empty", unet_file, unet_file,
               [](const fs::path& file) { fs::resize_file(file, 0); }},
        Damage{"gone", unet_file, "unet", [](const fs::path& file) { fs::remove(file); }},
        Damage{"header", unet_file, unet_file,
               [](const fs::path& file) {
                 std::fstream(file, std::ios::in | std::ios::out).write("\xff\xff\xff\xff", 4);
               }},
        Damage{"other_shape", "unet/config.json", "conv_in",
               [](const fs::path& file) {
                 Json config = Json::parse(read_file(file));
                 config["block_out_channels"] = {16, 16, 24};
                 std::ofstream(file) << config;
               }},
        Damage{"broken_config", "vae/config.json",
               "vae/config.json:", [](const fs::path& file) { std::ofstream(file) << "{\"a\": "; }},
        Damage{"broken_index", "model_index.json", "model_index.json",
               [](const fs::path& file) { std::ofstream(file) << "[]"; }},
        Damage{"no_vocabulary", "tokenizer/merges.txt", "tokenizer",
               [](const fs::path& file) { fs::remove(file); }}),
    [](const auto& info) { return info.param.name; });

TEST(Models, ShowsParametersAndMemory) {
  const auto result = backlot({"models", "show", pocket_model});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("9,299,780"), std::string::npos) << result.out;
  for (const char* part : {"cpu in float32", "cpu in bfloat16", "text encoders", "each more"})
    EXPECT_NE(result.out.find(part), std::string::npos) << part << " in " << result.out;
  const auto json = backlot({"models", "show", pocket_model, "--json"});
  const Json need = Json::parse(json.out)["need"];
  ASSERT_GE(need.size(), 3u);
  EXPECT_GT(need[0]["networks"], 2 * 9'000'000);
  EXPECT_TRUE(need[0].contains("measured"));
}

TEST(Models, ChecksALanguageModelsTokenizerAndTemplate) {
  TemporaryFolder folder;
  const fs::path model = folder / "model";
  fs::copy(BACKLOT_TEST_DATA "/oracles/qwen2.5/model", model, fs::copy_options::recursive);
  const auto check = [&] { return backlot({"models", "check", model.string()}); };
  const auto sound = check();
  EXPECT_EQ(sound.exit_code, 0) << sound.err;
  EXPECT_NE(sound.out.find("tokenizer and chat template are sound"), std::string::npos);
  std::ofstream(model / "chat_template.jinja") << "{% for message in messages %}{{ message";
  const auto no_end = check();
  EXPECT_EQ(no_end.exit_code, 3) << no_end.out;
  EXPECT_NE(no_end.out.find("chat_template.jinja"), std::string::npos) << no_end.out << no_end.err;
  fs::remove(model / "chat_template.jinja");
  fs::remove(model / "merges.txt");
  const auto no_merges = check();
  EXPECT_EQ(no_merges.exit_code, 3) << no_merges.out;
  EXPECT_NE(no_merges.out.find("merges.txt"), std::string::npos) << no_merges.out << no_merges.err;
}

TEST(Models, TokenizesAnArrayOfStrings) {
  const auto result = backlot({"models", "tokenize", pocket_model + "/tokenizer"},
                              {.input = R"(["a red apple", ""])"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const Json ids = Json::parse(result.out);
  ASSERT_EQ(ids.size(), 2u);
  EXPECT_FALSE(ids[0].empty());
  EXPECT_TRUE(ids[1].empty());
}

TEST(Models, TokenizesAsT5Does) {
  const std::string folder = BACKLOT_TEST_DATA "/tokenizers/umt5";
  const auto result = backlot({"models", "tokenize", folder}, {.input = R"(["</s>", "1st"])"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(Json::parse(result.out), Json::parse("[[1], [3, 41, 6, 10]]"));

  const TemporaryFolder damaged;
  std::ofstream(damaged / "spiece.model") << "no protocol buffer";
  const auto refused = backlot({"models", "tokenize", damaged.path().string()}, {.input = "[]"});
  EXPECT_EQ(refused.exit_code, 3);
  EXPECT_NE(refused.err.find("spiece.model: "), std::string::npos) << refused.err;
}

TEST(Completion, IsAScriptTheShellAccepts) {
  for (const std::string shell : {"bash"}) {
    const auto script = backlot({"completion", shell});
    EXPECT_EQ(script.exit_code, 0);
    EXPECT_NE(script.out.find("--guidance-scale"), std::string::npos);
    const auto check = run_program({shell, "-n"}, {.input = script.out});
    EXPECT_EQ(check.exit_code, 0) << check.err;
  }
}

}  // namespace
}  // namespace backlot
