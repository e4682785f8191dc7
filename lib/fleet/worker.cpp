#include "fleet/worker.h"

#include <algorithm>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "fleet/batch_maker.h"
#include "fleet/faults.h"
#include "run/worker_store.h"
#include "spec/item_json.h"

namespace backlot {
namespace {

// Carries signs of life to the supervisor, and keeps the items until nothing needs them any more.
class Reporter : public RunProgress {
 public:
  Reporter(WorkerChannel& channel, bool previews) : channel_(channel), previews_(previews) {}

  void begin(const Plan&, int64_t, int64_t) override {}
  void end(const RunTotals&) override {}
  void stage(std::string_view name) override { channel_.send({{"stage", name}}); }
  void step(int64_t done, int64_t total, int64_t batch) override {
    channel_.send({{"step", {done, total, batch}}});
  }
  void item_progress(const Item& item, int percent, std::string_view preview) override {
    channel_.send({{"progress", {item.id, percent, preview}}});
  }
  bool wants_previews() const override { return previews_; }
  void item_retried(const Item& item, const std::string& why) override {
    channel_.send({{"retried", {item.id, why}}});
  }
  void warning(const std::string& text) override { channel_.send({{"warning", text}}); }
  void detail(const std::string& text) override { channel_.send({{"detail", text}}); }
  void batch_begun(std::span<const Item* const> items) override {
    for (const Item* item : items) inject_fault(*item);
  }
  void item_done(const Item& item, double) override { settled(item); }
  void item_failed(const Item& item, const std::string&) override { settled(item); }

  // Kept until it is settled and made() has been called after it: writing threads and the computing
  // one are through with it at different times.
  const Item& keep(Item item) {
    const std::lock_guard lock(mutex_);
    const std::string id = item.id;
    return (items_[id] = {.item = std::move(item)}).item;
  }
  void made() {
    const std::lock_guard lock(mutex_);
    for (auto& entry : items_) entry.second.making = false;
    std::erase_if(items_, [](const auto& entry) { return entry.second.settled; });
  }
  std::vector<std::string> unsettled() {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> ids;
    for (const auto& [id, kept] : items_)
      if (!kept.settled) ids.push_back(id);
    return ids;
  }

 private:
  struct Kept {
    Item item;
    bool making = true, settled = false;
  };

  void settled(const Item& item) {
    const std::lock_guard lock(mutex_);
    const auto found = items_.find(item.id);
    found->second.settled = true;
    if (!found->second.making) items_.erase(found);
  }

  WorkerChannel& channel_;
  bool previews_;
  std::mutex mutex_;
  std::unordered_map<std::string, Kept> items_;
};

// A disk that can't be written is no fault of this worker or its device.
struct StorageError : EnvironmentError {
  explicit StorageError(const EnvironmentError& error)
      : EnvironmentError(error.where(), error.problem(), error.mend()) {}
};

template <class Write>
auto as_storage(Write write) {
  try {
    return write();
  } catch (const EnvironmentError& error) {
    throw StorageError(error);
  }
}

class GuardedStore : public ResultStore {
 public:
  GuardedStore(const fs::path& folder, const std::string& journal, SpaceLimits limits,
               std::function<void(const Record&)> recorded)
      : store_(as_storage(
            [&] { return std::make_unique<WorkerStore>(folder, journal, std::move(recorded)); })) {
    as_storage([&] { store_->limit_space(limits); });
  }

  void expect(const Item& item, int64_t attempts) { store_->expect(item, attempts); }
  OutputFile write_output(const Item& item, std::string_view bytes) const override {
    return as_storage([&] { return store_->write_output(item, bytes); });
  }
  fs::path place_for(const Item& item) const override {
    return as_storage([&] { return store_->place_for(item); });
  }
  std::string temporary_tag() const override { return store_->temporary_tag(); }
  void claim(const Item& item, uint64_t bytes) const override {
    as_storage([&] { store_->claim(item, bytes); });
  }
  void keep_checkpoint(const Item& item, std::string_view bytes) const override {
    as_storage([&] { store_->keep_checkpoint(item, bytes); });
  }
  std::optional<std::string> checkpoint(const Item& item) const override {
    return store_->checkpoint(item);
  }
  void record_engine(const EngineRecord& engine) override {
    as_storage([&] { store_->record_engine(engine); });
  }
  void record_done(const Item& item, const OutputFile& file, int64_t width, int64_t height,
                   Attempt attempt) override {
    as_storage([&] { store_->record_done(item, file, width, height, std::move(attempt)); });
  }
  void record_failed(const Item& item, std::string error, Attempt attempt) override {
    as_storage([&] { store_->record_failed(item, std::move(error), std::move(attempt)); });
  }

 private:
  std::unique_ptr<WorkerStore> store_;
};

// Null where the run has none. One that can't be opened here ends no run.
std::unique_ptr<ResultCache> cache_of(const Json& cache, Reporter& reporter) {
  if (cache.is_null()) return nullptr;
  CacheLimits limits;
  if (const Json& most = cache.at("max_bytes"); !most.is_null())
    limits.max_bytes = most.get<uint64_t>();
  if (const Json& age = cache.at("max_age"); !age.is_null()) limits.max_age = age.get<double>();
  try {
    return std::make_unique<ResultCache>(
        cache.at("folder").get<std::string>(), limits, cache.at("version").get<std::string>(),
        [&reporter](const std::string& text) { reporter.warning(text); });
  } catch (const EnvironmentError& error) {
    reporter.warning(std::string("goes on without the cache: ") + error.what());
    return nullptr;
  }
}

std::optional<int64_t> checkpoint_steps_of(const Json& run) {
  const Json& steps = run.at("checkpoint_steps");
  return steps.is_null() ? std::nullopt : std::optional(steps.get<int64_t>());
}

// One run's folder and how its items are made.
struct RunAtWork {
  RunAtWork(const Json& run, const WorkerSettings& settings, LoadedPipeline& loaded,
            Reporter& reporter, WorkerChannel& channel, const StopSignal& stop)
      : output(output_settings_from_json(run.at("output"))),
        store(run.at("folder").get<std::string>(), run.at("journal"),
              {output.quota, output.min_free},
              [&channel](const Record& record) {
                channel.send({{"settled", to_json(record)}});
              }),
        cache(cache_of(run.at("cache"), reporter)),
        maker(
            loaded, output, store,
            {.precision = precision_named(run.at("dtype").get<std::string>()).value(),
             .quantization = quantization_named(run.at("quantization").get<std::string>()).value(),
             .batch_size = run.at("batch_size"),
             .allow_lower_precision = run.at("allow_lower_precision"),
             .checkpoint_steps = checkpoint_steps_of(run),
             .workers = settings.sharing,
             .memory_limit = settings.memory_limit,
             .cache = cache.get(),
             .write_failed = [&channel] { channel.stop_receiving(); }},
            reporter, stop) {}

  OutputSettings output;
  GuardedStore store;
  std::unique_ptr<ResultCache> cache;
  BatchMaker maker;
};

class Worker {
 public:
  Worker(WorkerChannel& channel, Engine& engine, const WorkerSettings& settings, StopSignal& stop)
      : channel_(channel),
        settings_(settings),
        stop_(stop),
        loaded_(engine),
        reporter_(channel, settings.previews) {}

  void work() {
    while (const auto message = channel_.receive()) {
      if (stop_.requested()) break;
      if (message->contains("run")) {
        if (run_) run_->maker.drain();
        run_.reset();
        run_.emplace((*message)["run"], settings_, loaded_, reporter_, channel_, stop_);
      } else if (message->contains("make")) {
        make((*message)["make"]);
        reporter_.made();
        channel_.send({{"free", {}}});
      }
    }
    if (run_) run_->maker.drain();
  }

  void give_back() {
    if (run_) run_->maker.drain();
    channel_.send({{"returned", reporter_.unsettled()}});
  }

 private:
  void make(const Json& list) {
    std::vector<const Item*> items;
    for (const Json& each : list) {
      items.push_back(&reporter_.keep(item_from_json(each.at("item"))));
      run_->store.expect(*items.back(), each.at("attempts"));
    }
    for (size_t at = 0; at < items.size();) {
      if (stop_.requested()) throw Interrupted();
      const auto begin = items.begin() + static_cast<std::ptrdiff_t>(at);
      const auto left = std::distance(begin, items.end());
      const auto size = std::min<std::ptrdiff_t>(run_->maker.most_together(**begin, left), left);
      run_->maker.make({begin, begin + size});
      at += static_cast<size_t>(size);
    }
  }

  WorkerChannel& channel_;
  const WorkerSettings& settings_;
  StopSignal& stop_;
  LoadedPipeline loaded_;
  Reporter reporter_;
  std::optional<RunAtWork> run_;
};

void send_failure(WorkerChannel& channel, const char* kind, const Error& error) {
  channel.send({{"failed",
                 {{"kind", kind},
                  {"where", error.where()},
                  {"what", error.problem()},
                  {"mend", error.mend()}}}});
}

void send_ready(WorkerChannel& channel, const Engine& engine) {
  const DeviceFacts device = engine.device();
  channel.send({{"ready",
                 {{"torch", engine.torch_version()},
                  {"device", device.name},
                  {"model", device.model},
                  {"memory_bytes", device.memory_bytes},
                  {"notes", device.notes}}}});
}

ExitCode work_guarded(WorkerChannel& channel, Engine& engine, const WorkerSettings& settings,
                      StopSignal& stop) {
  Worker worker(channel, engine, settings, stop);
  try {
    worker.work();
    if (!stop.requested()) return ExitCode::done;
  } catch (const Interrupted&) {
  }
  worker.give_back();
  return stop.exit_code();
}

}  // namespace

ExitCode run_worker(WorkerChannel& channel, const WorkerSettings& settings,
                    const std::function<std::unique_ptr<Engine>(const EngineOptions&)>& load,
                    StopSignal& stop) {
  try {
    const auto engine = load({.device = settings.device, .threads = settings.threads});
    send_ready(channel, *engine);
    return work_guarded(channel, *engine, settings, stop);
  } catch (const StorageError& error) {
    send_failure(channel, "storage", error);
  } catch (const LoadError& error) {
    send_failure(channel, "model", error);
  } catch (const OutOfMemory& error) {
    send_failure(channel, "memory", error);
  } catch (const Error& error) {
    send_failure(channel, "device", error);
  } catch (const std::exception& error) {
    send_failure(channel, "device", EnvironmentError("", error.what(), "please report this"));
  }
  return ExitCode::environment;
}

}  // namespace backlot
