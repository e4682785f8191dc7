#include "run/manifest.h"

#include <gtest/gtest.h>

#include <clocale>

#include "base/error.h"
#include "run/fake_run.h"
#include "run/metrics.h"
#include "support/schema.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

// A run with an item of every status, and texts that are no friend of anyone.
Json mixed_manifest(const fs::path& folder) {
  Plan plan = fake::plan(4);
  plan.items[3].parameters["prompt"] = "broken \xff UTF-8, \"quotes\"\n</script>";
  RunFolder run = fake::open(folder, plan);
  run.record_engine({.torch_version = "2.11.0",
                     .device = "cpu",
                     .device_model = "Some CPU",
                     .device_memory_bytes = uint64_t{8} << 30});
  fake::make(run, plan.items[0]);
  Attempt attempt = fake::attempt();
  attempt.warnings = {"prompt truncated in " + (folder / "x").string()};
  run.record_failed(plan.items[1], (folder / "images/x").string() + ": \xfe", attempt);
  run.write_manifest();
  return Json::parse(read_file(folder / "manifest.json"));
}

TEST(Manifest, FitsItsPublishedSchema) {
  TemporaryFolder folder;
  const Json schema =
      Json::parse(read_file(fs::path(BACKLOT_SOURCE_DIR) / "docs/schema/manifest.schema.json"));
  Json manifest = mixed_manifest(folder / "run");
  EXPECT_EQ(schema_problems(manifest, schema), std::vector<std::string>{});

  manifest["items"][0]["bytes"] = "many";
  manifest["items"][1].erase("status");
  manifest["surprise"] = 1;
  EXPECT_EQ(schema_problems(manifest, schema).size(), 3u) << "the check itself must find faults";
}

TEST(Manifest, SaysWhatWasMadeAndHow) {
  TemporaryFolder folder;
  const Json manifest = mixed_manifest(folder / "run");
  const Json& totals = manifest["totals"];
  EXPECT_EQ(totals["items"], 4);
  EXPECT_EQ(totals["done"], 1);
  EXPECT_EQ(totals["failed"], 1);
  EXPECT_EQ(totals["pending"], 2);
  const Json& item = manifest["items"][0];
  EXPECT_EQ(item["sha256"], sha256_file(folder / "run" / item["output"].get<std::string>()));
  EXPECT_EQ(item["seconds"]["denoise"], 2.5);
  EXPECT_EQ(item["model"]["path"], "pocket-xl");
  EXPECT_EQ(item["model"]["fingerprint"], std::string(64, 'a'));
  EXPECT_EQ(manifest["models"][0]["licence"], "LICENSE");
  EXPECT_EQ(manifest["software"]["torch"], "2.11.0");
  EXPECT_EQ(manifest["devices"][0]["model"], "Some CPU");
}

TEST(Manifest, NamesNobodysFolders) {
  TemporaryFolder folder;
  mixed_manifest(folder / "run");
  for (const auto* name : {"manifest.json", "journal/main.jsonl", "journal/run.json"}) {
    const std::string text = read_file(folder / "run" / name);
    EXPECT_EQ(text.find(folder.path().string()), std::string::npos) << name;
    EXPECT_EQ(text.find("somebody"), std::string::npos) << name;
  }
}

TEST(Manifest, IsRebuiltFromJournalsAndFiles) {
  TemporaryFolder folder;
  const Plan plan = fake::plan(3);
  Json before;
  {
    RunFolder run = fake::open(folder.path(), plan);
    fake::finish(run);
    before = Json::parse(read_file(folder / "manifest.json"));
  }
  fs::remove(folder / "manifest.json");
  fake::open(folder.path(), plan);
  Json after = Json::parse(read_file(folder / "manifest.json"));
  before.erase("updated");
  after.erase("updated");
  EXPECT_EQ(before, after);
}

TEST(Manifest, WritesNumbersTheSameInEveryLocale) {
  bool found = false;
  for (const auto* name : {"de_DE.UTF-8", "de_DE.utf8", "tr_TR.UTF-8", "fr_FR.UTF-8"})
    found = found || std::setlocale(LC_ALL, name);
  if (!found) GTEST_SKIP() << "no locale with decimal commas is installed";
  TemporaryFolder folder;
  EXPECT_EQ(mixed_manifest(folder / "run")["items"][0]["seconds"]["denoise"], 2.5);
  EXPECT_NE(read_file(folder / "run/metrics.prom").find("2.5"), std::string::npos);
  std::setlocale(LC_ALL, "C");
}

TEST(Metrics, CountItemsAndTimeStages) {
  TemporaryFolder folder;
  mixed_manifest(folder / "run");
  const std::string text = read_file(folder / "run/metrics.prom");
  for (const std::string line :
       {"backlot_items{status=\"done\",run=\"fruit-sheet\"} 1",
        "backlot_items{status=\"failed\",run=\"fruit-sheet\"} 1",
        "backlot_items{status=\"pending\",run=\"fruit-sheet\"} 2",
        "backlot_attempts_total{run=\"fruit-sheet\"} 2",
        "backlot_item_seconds_sum{stage=\"denoise\",run=\"fruit-sheet\"} 2.5",
        "backlot_item_seconds_bucket{stage=\"denoise\",run=\"fruit-sheet\",le=\"1\"} 0",
        "backlot_item_seconds_bucket{stage=\"denoise\",run=\"fruit-sheet\",le=\"3\"} 1",
        "backlot_item_seconds_count{stage=\"write\",run=\"fruit-sheet\"} 1"})
    EXPECT_NE(text.find(line + "\n"), std::string::npos) << line << "\nin\n" << text;
}

}  // namespace
}  // namespace backlot
