// The events of --progress json: their order, and that docs/schema has them right.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>
#include <set>
#include <sstream>

#include "base/files.h"
#include "fleet/fleet_of_one.h"
#include "progress.h"
#include "support/schema.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

// What `act` writes to standard error, as one JSON object a line.
std::vector<Json> events_of(const std::function<void(FleetProgress&)>& act) {
  TemporaryFolder folder;
  const std::string path = (folder / "stderr").string();
  const int before = ::dup(STDERR_FILENO);
  const int file = ::open(path.c_str(), O_CREAT | O_WRONLY, 0600);
  ::dup2(file, STDERR_FILENO);
  const auto progress = make_progress("json");
  act(*progress);
  ::dup2(before, STDERR_FILENO);
  ::close(file);
  ::close(before);
  std::vector<Json> events;
  std::istringstream lines(read_file(path));
  for (std::string line; std::getline(lines, line);) events.push_back(Json::parse(line));
  return events;
}

Item item(int64_t index) {
  Item item;
  item.id = "id-" + std::to_string(index);
  item.index = index;
  item.output = "images/" + std::to_string(index) + ".png";
  return item;
}

void run_a_little(FleetProgress& to) {
  Plan plan{.name = "run"};
  plan.items = {item(0), item(1), item(2)};
  const auto& items = plan.items;
  FleetOfOne one(to, "cpu", {.previews = true, .readings = true});
  one.begin(plan, 3, 0);
  for (const auto& each : items) one.item_queued(each);
  one.stage("load");
  one.stage_ended();
  const std::vector<const Item*> both = {&items[0], &items[1]};
  one.batch_begun(both);
  one.stage("text_encode");
  one.stage("denoise");
  one.step(1, 2, 2);
  one.item_progress(items[0], 0, "data:image/png;base64,AAAA");
  one.item_progress(items[1], 0, "");
  one.step(2, 2, 2);
  one.item_retried(items[1], "out of memory");
  one.stage_ended();
  one.item_progress(items[0], 100, "");
  one.item_recorded(items[0], {.id = "id-0", .attempt = {.denoise = 1.5}});
  one.item_done(items[0], 1.5);
  one.item_failed(items[1], "out of memory");
  to.cache_looked_up(items[2], true);
  to.item_done(items[2], {.id = "id-2", .attempt = {.cached = true}});
  one.end({.items = 3, .done = 2, .failed = 1, .seconds = 2});
}

TEST(ProgressJson, EventsComeInOrderAndAreTrue) {
  const auto events = events_of(run_a_little);
  std::vector<std::string> names;
  for (const auto& event : events) names.push_back(event["event"]);
  EXPECT_EQ(names, (std::vector<std::string>{"begin", "queued",  "queued",  "queued",   "worker",
                                             "stage", "worker",  "started", "started",  "worker",
                                             "stage", "stage",   "step",    "progress", "progress",
                                             "step",  "retried", "queued",  "worker",   "progress",
                                             "item",  "item",    "cache",   "item",     "end"}));
  EXPECT_EQ(events[4]["state"], "loading");
  EXPECT_GT(events[4]["resident_bytes"], 0);
  EXPECT_EQ(events[7]["worker"], "cpu-0");
  EXPECT_EQ(events[12]["done"], 1);
  EXPECT_EQ(events[12]["batch"], 2);
  EXPECT_EQ(events[13]["preview"], "data:image/png;base64,AAAA");
  EXPECT_FALSE(events[14].contains("preview"));
  EXPECT_EQ(events[16]["why"], "out of memory");
  EXPECT_EQ(events[20]["seconds"], 1.5);
  EXPECT_EQ(events[21]["error"], "out of memory");
  EXPECT_EQ(events[23]["cached"], true);
  EXPECT_EQ(events[24]["done"], 2);
}

TEST(ProgressJson, TheSchemaHasEveryEventAndNoOther) {
  const Json schema =
      Json::parse(read_file(BACKLOT_SOURCE_DIR "/docs/schema/progress.schema.json"));
  const std::string docs = read_file(BACKLOT_SOURCE_DIR "/docs/progress.md");
  std::set<std::string> seen;
  for (const auto& event : events_of(run_a_little)) {
    const std::string name = event["event"];
    seen.insert(name);
    ASSERT_TRUE(schema["$defs"].contains(name)) << name;
    EXPECT_EQ(schema_problems(event, schema["$defs"][name]), std::vector<std::string>{})
        << event.dump();
    EXPECT_NE(docs.find("| `" + name + "` |"), std::string::npos) << name;
  }
  std::set<std::string> described;
  for (const auto& [name, definition] : schema["$defs"].items()) described.insert(name);
  EXPECT_EQ(seen, described);
}

TEST(ProgressJson, UnknownLengthIsNull) {
  const auto events = events_of([](FleetProgress& to) { to.begin({.name = "queue"}); });
  ASSERT_EQ(events.size(), 1u);
  EXPECT_TRUE(events[0]["items"].is_null());
}

TEST(ProgressJson, InvalidTextStaysOneLine) {
  const auto events = events_of(
      [](FleetProgress& to) { to.item_failed(item(0), "broken \xff\xfe text\nand a line"); });
  ASSERT_EQ(events.size(), 1u);
}

}  // namespace
}  // namespace backlot
