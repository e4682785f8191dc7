// Metrics: that they count right, are served, and are those that the docs and the dashboard name.
#include "fleet/fleet_metrics.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <regex>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "fleet/metrics_server.h"
#include "run/metrics.h"
#include "run/rooted_folder.h"

namespace backlot {
namespace {

Item item(int64_t index) {
  Item item;
  item.id = "id-" + std::to_string(index);
  item.index = index;
  return item;
}

Record done(int64_t index, bool cached = false) {
  Record record;
  record.id = "id-" + std::to_string(index);
  record.status = ItemStatus::done;
  record.file.bytes = 100;
  record.attempt.denoise = 2;
  record.attempt.tries = 2;
  record.attempt.cached = cached;
  record.attempts = 3;
  return record;
}

WorkerView worker() {
  WorkerView view;
  view.name = "cuda-0";
  view.device = "cuda:0";
  view.state = WorkerState::working;
  view.done = 1;
  view.restarts = 2;
  view.resident_bytes = 1000;
  view.peak_resident_bytes = 2000;
  return view;
}

Device gpu(uint64_t free) {
  Device device{.name = "cuda:0", .memory_bytes = 100, .free_bytes = free};
  device.temperature_c = 70;
  device.utilisation = 0.5;
  device.load = 1.5;
  return device;
}

// Six items: one from before, one made, one failed, one cached, one in hand, one waiting.
void tell(FleetMetrics& metrics) {
  metrics.begin({.name = "fruit", .items = 6, .reused = 1});
  metrics.reuse(done(0));
  metrics.cache_looked_up(item(3), true);
  metrics.item_done(item(3), done(3, true));
  for (int i : {1, 2, 4, 5}) metrics.item_queued(item(i));
  metrics.worker_changed(worker());
  metrics.devices_read({gpu(40)});
  metrics.devices_read({gpu(90)});
  for (int i : {1, 2, 4}) metrics.item_started(item(i), worker());
  metrics.item_done(item(1), done(1));
  metrics.item_retried(item(2), "its worker was lost");
  metrics.item_queued(item(2));
  metrics.item_started(item(2), worker());
  metrics.item_failed(item(2), "no luck");
}

// The value of one series in the text, e.g. of backlot_items{run="fruit",status="done"}.
double value_of(const std::string& text, const std::string& series) {
  const size_t at = text.find("\n" + series + " ");
  EXPECT_NE(at, std::string::npos) << series << " in\n" << text;
  return at == std::string::npos ? -1 : std::stod(text.substr(at + series.size() + 2));
}

// GET /metrics over a socket of our own.
std::string scrape(int port) {
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in place{};
  place.sin_family = AF_INET;
  place.sin_port = htons(static_cast<uint16_t>(port));
  place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&place), sizeof place), 0);
  const std::string request = "GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n";
  EXPECT_EQ(::send(fd.get(), request.data(), request.size(), 0),
            static_cast<ssize_t>(request.size()));
  std::string answer;
  char piece[4096];
  for (ssize_t n; (n = ::recv(fd.get(), piece, sizeof piece, 0)) > 0;)
    answer.append(piece, static_cast<size_t>(n));
  return answer;
}

std::string scrape(const FleetMetrics& metrics) {
  const MetricsServer server("127.0.0.1", 0, metrics);
  return scrape(server.port());
}

// Of a histogram's series the family.
std::string family(std::string name) {
  return std::regex_replace(name, std::regex("_(bucket|sum|count)$"), "");
}

std::set<std::string> exported() {
  FleetMetrics metrics;
  tell(metrics);
  const std::string text = scrape(metrics);
  std::set<std::string> names;
  const std::regex type("# TYPE (backlot_\\S+)");  // the server counts itself, too
  for (std::sregex_iterator at(text.begin(), text.end(), type), end; at != end; ++at)
    names.insert((*at)[1]);
  return names;
}

std::set<std::string> named_in(const std::string& text) {
  std::set<std::string> names;
  const std::regex metric("backlot_[a-z_0-9]+");
  for (std::sregex_iterator at(text.begin(), text.end(), metric), end; at != end; ++at)
    names.insert(family(at->str()));
  return names;
}

TEST(FleetMetrics, CountsWhatItHears) {
  FleetMetrics metrics;
  tell(metrics);
  const std::string text = scrape(metrics);
  EXPECT_EQ(text.substr(0, 15), "HTTP/1.1 200 OK");
  const auto state = [&](const std::string& name) {
    return value_of(text, "backlot_fleet_items{run=\"fruit\",state=\"" + name + "\"}");
  };
  EXPECT_EQ(state("queued"), 1);
  EXPECT_EQ(state("in_hand"), 1);
  EXPECT_EQ(state("done"), 1);
  EXPECT_EQ(state("failed"), 1);
  EXPECT_EQ(state("cached"), 1);
  EXPECT_EQ(value_of(text, "backlot_queue_length{run=\"fruit\"}"), 1);
  EXPECT_EQ(value_of(text, "backlot_items{run=\"fruit\",status=\"done\"}"), 3);
  EXPECT_EQ(value_of(text, "backlot_items{run=\"fruit\",status=\"failed\"}"), 1);
  EXPECT_EQ(value_of(text, "backlot_items{run=\"fruit\",status=\"pending\"}"), 2);
  EXPECT_EQ(value_of(text, "backlot_retries_total{run=\"fruit\"}"), 1);
  EXPECT_EQ(value_of(text, "backlot_attempts_total{run=\"fruit\"}"), 3 + 2 + 1 + 2);
  EXPECT_EQ(value_of(text, "backlot_output_bytes_total{run=\"fruit\"}"), 300);
  EXPECT_EQ(value_of(text, "backlot_item_seconds_sum{run=\"fruit\",stage=\"denoise\"}"), 6);
  EXPECT_EQ(value_of(text, "backlot_cache_lookups_total{result=\"hit\",run=\"fruit\"}"), 1);
  EXPECT_EQ(value_of(text, "backlot_cache_lookups_total{result=\"miss\",run=\"fruit\"}"), 0);
}

TEST(FleetMetrics, KnowsWorkersAndDevices) {
  FleetMetrics metrics;
  tell(metrics);
  metrics.worker_changed(worker());  // the restarts are the same two
  const std::string text = metrics.live_text();
  const std::string who = "device=\"cuda:0\",run=\"fruit\",";
  EXPECT_EQ(value_of(text, "backlot_worker_state{" + who + "state=\"working\",worker=\"cuda-0\"}"),
            1);
  EXPECT_EQ(value_of(text, "backlot_worker_state{" + who + "state=\"idle\",worker=\"cuda-0\"}"), 0);
  EXPECT_EQ(value_of(text, "backlot_worker_restarts_total{" + who + "worker=\"cuda-0\"}"), 2);
  EXPECT_EQ(value_of(text,
                     "backlot_device_memory_bytes{device=\"cuda:0\",kind=\"used\","
                     "run=\"fruit\"}"),
            10);
  EXPECT_EQ(value_of(text, "backlot_device_peak_memory_bytes{device=\"cuda:0\",run=\"fruit\"}"),
            60);
  EXPECT_EQ(value_of(text, "backlot_device_temperature_celsius{device=\"cuda:0\",run=\"fruit\"}"),
            70);
}

TEST(FleetMetrics, AtTheEndItsWorkersHaveEnded) {
  FleetMetrics metrics;
  tell(metrics);
  WorkerView gone = worker();
  gone.name = "cuda-1";
  gone.state = WorkerState::set_aside;
  metrics.worker_changed(gone);
  metrics.end({});
  const std::string text = metrics.live_text();
  const auto state = [&](const char* state, const char* worker) {
    return value_of(
        text, std::string("backlot_worker_state{device=\"cuda:0\",run=\"fruit\",state=\"") + state +
                  "\",worker=\"" + worker + "\"}");
  };
  EXPECT_EQ(state("ended", "cuda-0"), 1);
  EXPECT_EQ(state("working", "cuda-0"), 0);
  EXPECT_EQ(state("set aside", "cuda-1"), 1);
  EXPECT_EQ(state("ended", "cuda-1"), 0);
  const std::string who = "{device=\"cuda:0\",run=\"fruit\",worker=\"cuda-0\"}";
  EXPECT_EQ(value_of(text, "backlot_worker_resident_bytes" + who), 0);
  EXPECT_EQ(value_of(text, "backlot_worker_peak_resident_bytes" + who), 2000);
}

TEST(FleetMetrics, TheFileHasNoFamilyTwice) {
  FleetMetrics metrics;
  tell(metrics);
  const std::string text =
      metrics_text("fruit", std::vector<Record>{done(0)}) + metrics.live_text();
  std::set<std::string> seen;
  const std::regex type("# TYPE (\\S+)");
  for (std::sregex_iterator at(text.begin(), text.end(), type), end; at != end; ++at)
    EXPECT_TRUE(seen.insert((*at)[1]).second) << (*at)[1];
  EXPECT_EQ(seen, exported());
}

TEST(FleetMetrics, ASecondRunBeginsAnew) {
  FleetMetrics metrics;
  tell(metrics);
  metrics.begin({.name = "other", .items = 2, .reused = 0});
  const std::string text = scrape(metrics);
  EXPECT_EQ(text.find("fruit"), std::string::npos);
  EXPECT_EQ(value_of(text, "backlot_items{run=\"other\",status=\"pending\"}"), 2);
}

TEST(MetricsServer, SaysThatAPortIsTaken) {
  const FleetMetrics metrics;
  const MetricsServer first("127.0.0.1", 0, metrics);
  EXPECT_THROW(MetricsServer("127.0.0.1", first.port(), metrics), EnvironmentError);
}

TEST(MetricsServer, AnswersBeforeAndAfterTheRun) {
  auto metrics = std::make_unique<FleetMetrics>();
  const MetricsServer server("127.0.0.1", 0, *metrics);
  EXPECT_EQ(scrape(server.port()).substr(0, 15), "HTTP/1.1 200 OK");
  tell(*metrics);
  metrics.reset();
  EXPECT_NE(scrape(server.port()).find("backlot_items"), std::string::npos);
}

TEST(MetricsDocs, ListEveryMetricAndNoOther) {
  const std::string docs = read_file(BACKLOT_SOURCE_DIR "/docs/metrics.md");
  std::set<std::string> listed;
  const std::regex row("\n\\| `(backlot_[a-z_]+)` \\|");
  for (std::sregex_iterator at(docs.begin(), docs.end(), row), end; at != end; ++at)
    listed.insert((*at)[1]);
  EXPECT_EQ(listed, exported());
}

TEST(MetricsDocs, TheDashboardAsksForMetricsThatThereAre) {
  const Json dashboard = Json::parse(read_file(BACKLOT_SOURCE_DIR "/docs/grafana/backlot.json"));
  EXPECT_GE(dashboard["schemaVersion"], 30);
  const auto names = exported();
  std::set<std::string> asked;
  for (const auto& panel : dashboard["panels"]) {
    const Json targets = panel.value("targets", Json::array());
    for (const auto& target : targets)
      for (const auto& name : named_in(target["expr"])) {
        EXPECT_TRUE(names.contains(name)) << panel["title"] << ": " << name;
        asked.insert(name);
      }
  }
  EXPECT_GE(asked.size(), 15u);
  EXPECT_EQ(dashboard["templating"]["list"][0]["type"], "datasource");
}

}  // namespace
}  // namespace backlot
