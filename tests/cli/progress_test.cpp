// What a run tells the outside: events, metrics, probes.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "base/files.h"
#include "run/rooted_folder.h"
#include "support/command.h"
#include "support/schema.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

std::vector<std::string> generate(std::vector<std::string> more) {
  std::vector<std::string> all{
      "generate", "--model",     std::string(BACKLOT_SOURCE_DIR) + "/models/pocket-xl",
      "--prompt", "a red apple", "--prompt",
      "a tree",   "--width",     "64",
      "--height", "64",          "--steps",
      "8",        "--seed",      "7",
      "--device", "cpu",         "-o",
      "run"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::vector<Json> events_in(const std::string& err) {
  std::vector<Json> events;
  std::istringstream lines(err);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("{\"event\"")) events.push_back(Json::parse(line));
  return events;
}

TEST(Events, TellEveryItemFromQueuedToDoneWithPictures) {
  TemporaryFolder work;
  const auto result = backlot(generate({"--progress", "json"}), {.folder = work.path()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json schema =
      Json::parse(read_file(BACKLOT_SOURCE_DIR "/docs/schema/progress.schema.json"));
  std::map<std::string, std::vector<std::string>> told;  // by item
  for (const auto& event : events_in(result.err)) {
    const std::string name = event["event"];
    EXPECT_EQ(schema_problems(event, schema["$defs"][name]), std::vector<std::string>{})
        << event.dump();
    if (!event.contains("id")) continue;
    auto& mine = told[event["id"]];
    mine.push_back(name == "progress" ? std::to_string(event["percent"].get<int>()) : name);
    EXPECT_EQ(event.contains("preview"), name == "progress") << event.dump();
  }
  EXPECT_EQ(told.size(), 2u);
  for (const auto& [id, names] : told)
    EXPECT_EQ(names,
              (std::vector<std::string>{"queued", "started", "0", "25", "50", "75", "100", "item"}))
        << id;
  // A resumed run has nothing to queue.
  const auto again = backlot(generate({"--progress", "json"}), {.folder = work.path()});
  EXPECT_EQ(events_in(again.err).size(), 2u) << again.err;
}

TEST(Events, PreviewsChangeNoByte) {
  TemporaryFolder with, without;
  ASSERT_EQ(backlot(generate({"--progress", "json"}), {.folder = with.path()}).exit_code, 0);
  ASSERT_EQ(backlot(generate({"--progress", "off"}), {.folder = without.path()}).exit_code, 0);
  for (const char* file : {"run/images/00000-a-red-apple-7.png", "run/images/00001-a-tree-7.png"})
    EXPECT_EQ(read_file(with / file), read_file(without / file)) << file;
}

TEST(Metrics, AreWrittenAndServed) {
  TemporaryFolder work;
  const auto result = backlot(generate({"--metrics-port", "0"}), {.folder = work.path()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.err.find("metrics at http://127.0.0.1:"), std::string::npos) << result.err;
  const std::string text = read_file(work / "run/metrics.prom");
  for (const char* line : {"backlot_items{status=\"done\",run=\"run\"} 2",
                           "backlot_fleet_items{run=\"run\",state=\"done\"} 2",
                           "backlot_worker_items{device=\"cpu\",run=\"run\",status=\"done\","
                           "worker=\"cpu-0\"} 2",
                           "backlot_device_memory_bytes{device=\"cpu\",kind=\"total\""})
    EXPECT_NE(text.find(line), std::string::npos) << line << " in\n" << text;
}

TEST(Metrics, ATakenPortIsSaidBeforeAnythingStarts) {
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in place{};
  place.sin_family = AF_INET;
  place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&place), sizeof place), 0);
  ASSERT_EQ(::listen(fd.get(), 1), 0);
  socklen_t size = sizeof place;
  ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&place), &size);
  const std::string port = std::to_string(ntohs(place.sin_port));
  TemporaryFolder work;
  const auto result = backlot(generate({"--metrics-port", port}), {.folder = work.path()});
  EXPECT_EQ(result.exit_code, 3) << result.err;
  EXPECT_EQ(result.err.rfind("backlot: error: --metrics-port " + port + ": ", 0), 0u) << result.err;
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  EXPECT_FALSE(fs::exists(work / "run"));
  const auto alone = backlot(generate({"--metrics-address", "::1"}), {.folder = work.path()});
  EXPECT_EQ(alone.exit_code, 2) << alone.err;
}

TEST(Health, KnowsHowAGpuFares) {
  const auto result =
      backlot({"health", "--json"}, {.environment = {{"LD_LIBRARY_PATH", FAKE_NVML_FOLDER}}});
  const Json devices = Json::parse(result.out)["devices"];
  ASSERT_EQ(devices.size(), 2u);
  EXPECT_TRUE(devices[0]["load"].is_number());
  EXPECT_EQ(devices[1]["name"], "cuda:0");
  EXPECT_EQ(devices[1]["temperature_c"], 63);
  EXPECT_EQ(devices[1]["utilisation"], 0.88);
  EXPECT_EQ(devices[1]["free_bytes"], uint64_t{60} << 30);
  const auto text = backlot({"health"}, {.environment = {{"LD_LIBRARY_PATH", FAKE_NVML_FOLDER}}});
  EXPECT_NE(text.out.find("63°C, 88% busy"), std::string::npos) << text.out;
}

}  // namespace
}  // namespace backlot
