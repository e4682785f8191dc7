// What the command says before it makes anything: plans, refusals, completion. Needs no engine.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "run/journal.h"
#include "support/command.h"
#include "support/temporary_folder.h"
#include "support/tiny_runs.h"

namespace backlot {
namespace {

CommandResult plan(const fs::path& folder, std::vector<std::string> more) {
  std::vector<std::string> words{"fleet-run", "run.yaml", "--dry-run", "--dtype", "float32"};
  words.insert(words.end(), more.begin(), more.end());
  return backlot(words, {.folder = folder});
}

// As if the first `count` of the plan's items had been made.
void pretend_done(const fs::path& folder, size_t count) {
  const auto planned = plan(folder, {"--devices", "cpu", "--json"});
  ASSERT_EQ(planned.exit_code, 0) << planned.err;
  const Json items = Json::parse(planned.out)["plan"];
  const fs::path run = folder / "out" / "run";
  fs::create_directories(run / "journal");
  fs::create_directories(run / "images");
  std::ofstream journal(run / "journal" / "main.jsonl");
  for (size_t i = 0; i < count; ++i) {
    Record record;
    record.id = items[i]["id"];
    record.index = static_cast<int64_t>(i);
    record.status = ItemStatus::done;
    record.file = {items[i]["output"], std::string(64, '0'), 5};
    record.width = record.height = 32;
    record.attempts = 1;
    std::ofstream(run / record.file.path) << "12345";
    journal << to_json(record).dump() << "\n";
  }
}

TEST(FleetPlan, SaysHowMuchIsDoneAlready) {
  TemporaryFolder work;
  write_tiny_spec(work / "run.yaml", 6);
  EXPECT_EQ(plan(work.path(), {"--devices", "cpu"}).out.find("done already"), std::string::npos);
  pretend_done(work.path(), 3);
  const auto says = [&](std::vector<std::string> more, const std::string& part) {
    more.insert(more.end(), {"--devices", "cpu"});
    const auto result = plan(work.path(), more);
    EXPECT_NE(result.out.find(part), std::string::npos) << part << " in\n" << result.out;
  };
  says({}, "3 of 6 done already, by the journals");
  says({"--shard", "1/2"}, "2 of 3 done already");
  says({"--json"}, "\"items\":6,\"done\":3,");
  says({"--fresh", "--json"}, "\"items\":6,\"done\":0,");
  // One that is gone, or was cut short, is none.
  const fs::path images = work / "out" / "run" / "images";
  const fs::path one = fs::directory_iterator(images)->path();
  std::ofstream(one) << "123";
  says({}, "2 of 6 done already");
  fs::remove(one);
  says({}, "2 of 6 done already");
  EXPECT_FALSE(fs::exists(work / "out" / "run" / "manifest.json"));
}

TEST(FleetPlan, IsOfTheShardAlone) {
  TemporaryFolder work;
  write_tiny_spec(work / "run.yaml", 5);
  const auto result = plan(work.path(), {"--devices", "cpu", "--shard", "2/2"});
  EXPECT_NE(result.out.find("run: 2 item(s) of 5 (shard 2/2) into"), std::string::npos)
      << result.out;
  EXPECT_EQ(result.out.find("images/00000"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("images/00001"), std::string::npos) << result.out;
}

TEST(FleetPlan, SaysThatMemoryIsOfEachWorker) {
  TemporaryFolder work;
  write_tiny_spec(work / "run.yaml", 2);
  const auto shared = plan(work.path(), {"--devices", "cpu,cpu"});
  EXPECT_NE(shared.out.find("together in each of 2 workers"), std::string::npos) << shared.out;
  EXPECT_NE(shared.out.find("at the peak in each of 2 workers ("), std::string::npos) << shared.out;
  const auto alone = plan(work.path(), {"--devices", "cpu"});
  EXPECT_EQ(alone.out.find("in each of"), std::string::npos) << alone.out;
}

TEST(FleetRefuses, FaultsThatThereAreNot) {
  TemporaryFolder work;
  write_tiny_spec(work / "run.yaml", 2);
  for (const char* fault : {"bogus@7", "segfault"}) {
    const auto result = backlot({"fleet-run", "run.yaml", "--devices", "cpu"},
                                {.folder = work.path(), .environment = {{"BACKLOT_FAULT", fault}}});
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_NE(result.err.find("backlot: error: $BACKLOT_FAULT: "), std::string::npos) << result.err;
    EXPECT_FALSE(fs::exists(work / "out"));
  }
}

TEST(FleetStops, AndNamesTheSpecsThatItDidNotStart) {
  TemporaryFolder work;
  write_tiny_spec(work / "run.yaml", 2);
  for (const char* name : {"b", "c"})
    std::ofstream(work / (std::string(name) + ".yaml"))
        << "version: 1\nname: " << name << "\nmodel: " << BACKLOT_TEST_DATA
        << "/oracles/sdxl-base/model\njobs:\n  - {prompt: a pear, seed: 1, steps: 1}\n";
  const auto stopped = [&](std::vector<std::string> specs) {
    specs.insert(specs.begin(), "fleet-run");
    specs.insert(specs.end(), {"--devices", "cpu"});
    // Every worker ends before it is ready.
    const auto result =
        backlot(specs, {.folder = work.path(), .environment = {{"BACKLOT_TORCH", "/nowhere"}}});
    EXPECT_EQ(result.exit_code, 3) << result.err;
    return result.err;
  };
  const std::string three = stopped({"run.yaml", "b.yaml", "c.yaml"});
  EXPECT_NE(three.find("not started: b.yaml, c.yaml; the same command goes on with them"),
            std::string::npos)
      << three;
  const std::string two = stopped({"b.yaml", "run.yaml"});
  EXPECT_NE(two.find("not started: run.yaml; the same command goes on with it"), std::string::npos)
      << two;
  EXPECT_EQ(stopped({"c.yaml"}).find("not started"), std::string::npos);
}

// What bash offers for the last of the words.
std::string offered(const std::vector<std::string>& words) {
  std::string line;
  for (const auto& word : words) line += "'" + word + "' ";
  const std::string script = backlot({"completion", "bash"}).out + "\nCOMP_WORDS=(backlot " + line +
                             ")\nCOMP_CWORD=" + std::to_string(words.size()) +
                             "\n_backlot\necho \"${COMPREPLY[*]}\"\n";
  const auto result = run_program({"bash"}, {.input = script});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  return result.out.substr(0, result.out.find('\n'));
}

TEST(Completion, OffersValuesWhereTheyAreKnown) {
  EXPECT_EQ(offered({"cache", ""}), "stats clear verify");
  EXPECT_EQ(offered({"models", ""}), "list show check tokenize");
  EXPECT_EQ(offered({"completion", ""}), "bash zsh");
  EXPECT_EQ(offered({"bench", ""}), "image video language load kernels fleet");
  EXPECT_EQ(offered({"bench", "image", "f"}), "fleet");
  EXPECT_EQ(offered({"fleet-run", "--engine", ""}), "local redis slurm");
  EXPECT_EQ(offered({"fleet-run", "--engine", "=", "s"}), "slurm");
  EXPECT_EQ(offered({"fleet-run", "--engine", "="}), "local redis slurm");
  EXPECT_EQ(offered({"generate", "--progress", "p"}), "plain");
  EXPECT_EQ(offered({"generate", "--dtype", ""}), "auto float32 bfloat16 float16");
  EXPECT_EQ(offered({"bench", "--dtype", "b"}), "bfloat16");
  EXPECT_EQ(offered({"generate", "--quantize", ""}), "none int8 fp8");
  EXPECT_EQ(offered({"generate", "--scheduler", "lc"}), "lcm");
}

// Where nothing is offered the shell offers files.
TEST(Completion, LeavesFilesToTheShell) {
  EXPECT_EQ(offered({"cache", "stats", ""}), "");
  EXPECT_EQ(offered({"bench", "--model", ""}), "");
  EXPECT_EQ(offered({"generate", ""}), "");
  EXPECT_EQ(offered({"fleet-run", "--output", ""}), "");
}

TEST(Completion, OffersCommandsAndOptions) {
  EXPECT_EQ(offered({"gen"}), "generate");
  EXPECT_EQ(offered({"fleet-w"}), "");
  EXPECT_EQ(offered({"cache", "stats", "--j"}), "--json");
}

}  // namespace
}  // namespace backlot
