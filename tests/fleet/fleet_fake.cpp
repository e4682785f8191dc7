// A fleet with an engine that makes flat pictures in a moment: supervisor and workers are the real
// ones, in processes of their own, and LibTorch stays out, so that sanitizers can watch.
//
//   fleet_fake run FOLDER ITEMS DEVICES [ATTEMPTS]   exits as `backlot fleet-run` does
//   fleet_fake coordinate FOLDER ITEMS URL           as `backlot fleet-run --engine redis` does
//   fleet_fake box URL DEVICES ATTEMPTS CLAIM_MS [IDLE_EXIT]   as `backlot fleet-run --worker` does
//   fleet_fake fleet-worker …                        what they start
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "base/text.h"
#include "fleet/conduct_run.h"
#include "fleet/local_queue.h"
#include "fleet/redis_coordinator.h"
#include "fleet/redis_queue.h"
#include "fleet/supervisor.h"
#include "fleet/worker.h"
#include "run/fake_run.h"

namespace backlot {
namespace {

class FlatPipeline : public ImagePipeline {
 public:
  std::vector<ImageResult> generate(std::span<const ImageRequest> batch,
                                    Progress& progress) override {
    progress.stage("denoise");
    std::vector<ImageResult> results;
    const int steps = 4;
    for (int step = 0; step <= steps; ++step) {
      if (progress.stop_requested()) throw Interrupted();
      progress.step(step, steps);
      std::this_thread::sleep_for(std::chrono::microseconds(300));
    }
    for (const auto& request : batch) {
      Picture picture{request.width, request.height, {}};
      picture.rgb.assign(static_cast<size_t>(3 * request.width * request.height),
                         static_cast<uint8_t>(request.seed));
      results.push_back({std::move(picture), {}, {}, {}});
    }
    return results;
  }
  std::string dtype() const override { return "float32"; }
};

class FlatEngine : public Engine {
 public:
  explicit FlatEngine(std::string device) : device_(std::move(device)) {}
  DeviceFacts device() const override { return {device_, "flat", 1 << 30, 1 << 30, 1, {}}; }
  std::string torch_version() const override { return "none"; }
  std::unique_ptr<ImagePipeline> load_image_pipeline(const PipelineOptions&,
                                                     Progress& progress) override {
    progress.stage("load");
    if (std::getenv("FLEET_FAKE_NO_MODEL"))
      throw LoadError("/models/flat", "is damaged", "mend it");
    return std::make_unique<FlatPipeline>();
  }
  Ceilings measure_ceilings(Precision) override { return {}; }
  void measure_kernels(const KernelRequest&, const KernelListener&, Progress&) override {}

 private:
  std::string device_;
};

std::unique_ptr<Engine> load_flat(const EngineOptions& options) {
  if (options.device == "cuda:9")
    throw EnvironmentError("cuda:9", "fell off the bus", "replace it");
  return std::make_unique<FlatEngine>(options.device);
}

class Words : public FleetProgress {
 public:
  void item_failed(const Item& item, const std::string& error) override {
    fmt::print(stderr, "failed {}: {}\n", item.index, error);
  }
  void item_retried(const Item& item, const std::string& why) override {
    fmt::print(stderr, "retried {}: {}\n", item.index, why);
  }
  void warning(const std::string& text) override { fmt::print(stderr, "warning: {}\n", text); }
  void end(const RunTotals& totals) override { fmt::print(stderr, "{} made\n", totals.done); }
};

FleetOptions fleet_options(const std::string& devices, int inherited = -1) {
  FleetOptions options;
  options.devices = split(devices, ',');
  options.command = {fs::read_symlink("/proc/self/exe").string(), "fleet-worker"};
  options.inherited = inherited;
  options.most_together = [](const Item&, const std::string&, int64_t) { return 4; };
  if (const char* seconds = std::getenv("FLEET_FAKE_HANG"))
    options.hang_seconds = std::atof(seconds);
  return options;
}

ExitCode coordinate(const std::vector<std::string>& words, StopSignal& stop) {
  const fs::path folder = words.at(0);
  const Plan plan = fake::plan(std::stoll(words.at(1)));
  const RunInfo info = fake::info(folder);
  RunFolderOptions how;
  how.boxes_write = true;
  RunFolder run = RunFolder::open(folder, plan, info, how);
  Words progress;
  CoordinatorOptions options;
  options.worker_command = "fleet_fake box";
  options.silent_after = 0.2;
  RedisCoordinator coordinator(parse_redis_url(words.at(2)), plan, info.base_seed, run, options,
                               progress);
  ExitCode code = ExitCode::done;
  try {
    coordinator.run(stop);
  } catch (const Interrupted&) {
    code = stop.exit_code();
  }
  run.remove_half_written();
  run.write_manifest();
  for (const auto& [place, items] : coordinator.elsewhere())
    fmt::print(stderr, "elsewhere: {} in {}\n", items, place);
  if (code != ExitCode::done) return code;
  if (!coordinator.elsewhere().empty()) return ExitCode::environment;
  return run.totals().failed > 0 ? ExitCode::items_failed : ExitCode::done;
}

ExitCode box(const std::vector<std::string>& words, StopSignal& stop) {
  RedisQueueOptions options;
  options.box = new_box_name();
  options.attempts = std::stoll(words.at(2));
  options.claim_after = std::chrono::milliseconds(std::stoll(words.at(3)));
  if (words.size() > 4) options.idle_exit = std::stod(words[4]);
  if (const char* output = std::getenv("FLEET_FAKE_OUTPUT")) options.output = output;
  options.say = [](const std::string& text) { fmt::print(stderr, "{}\n", text); };
  Words progress;
  Supervisor supervisor(fleet_options(words.at(1)), progress, stop);
  RedisQueue queue(parse_redis_url(words.at(0)), options);
  try {
    supervisor.run(queue);
  } catch (const Interrupted&) {
    return stop.exit_code();
  }
  return ExitCode::done;
}

ExitCode run(const std::vector<std::string>& words, StopSignal& stop) {
  const fs::path folder = words.at(0);
  const Plan plan = fake::plan(std::stoll(words.at(1)));
  RunFolder run = fake::open(folder, plan);
  auto target = std::make_shared<RunTarget>();
  target->folder = folder;
  target->output = plan.output;
  Words words_said;
  FleetMetrics metrics;
  FleetProgressTee progress{&metrics, &words_said};
  const auto make = [&] {
    LocalQueue queue(run, target, words.size() > 3 ? std::stoll(words[3]) : 3);
    Supervisor(fleet_options(words.at(2), run.lock_fd()), progress, stop).run(queue);
  };
  RunSteps steps;
  steps.begin = [&](const Totals& before) { progress.begin({plan.name, before.items, 0}); };
  steps.take_cached = [] { return int64_t{0}; };
  steps.queued = [&](const Item& item) { progress.item_queued(item); };
  steps.make = make;
  steps.end = [&](const RunTotals& totals) { progress.end(totals); };
  try {
    const RunTotals totals = conduct_run(run, metrics, steps);
    return totals.failed > 0 ? ExitCode::items_failed : ExitCode::done;
  } catch (const Interrupted&) {
    return stop.exit_code();
  }
}

ExitCode work(const std::vector<std::string>& words, StopSignal& stop) {
  WorkerSettings settings;
  int channel = -1;
  for (size_t i = 0; i + 1 < words.size(); i += 2) {
    if (words[i] == "--name") settings.name = words[i + 1];
    if (words[i] == "--device") settings.device = words[i + 1];
    if (words[i] == "--channel") channel = std::stoi(words[i + 1]);
  }
  WorkerChannel line{UniqueFd(channel)};
  return run_worker(line, settings, load_flat, stop);
}

}  // namespace
}  // namespace backlot

int main(int argc, char** argv) {
  using namespace backlot;
  StopSignal& stop = StopSignal::install();
  const std::vector<std::string> words(argv + 1, argv + argc);
  try {
    const std::vector<std::string> rest(words.begin() + 1, words.end());
    const auto& command = words.at(0);
    return static_cast<int>(command == "run"          ? run(rest, stop)
                            : command == "coordinate" ? coordinate(rest, stop)
                            : command == "box"        ? box(rest, stop)
                                                      : work(rest, stop));
  } catch (const Error& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return static_cast<int>(error.code());
  }
}
