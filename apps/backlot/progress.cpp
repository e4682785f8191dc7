#include "progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <string_view>

#include "log.h"

namespace backlot {
namespace {

class SilentProgress : public FleetProgress {
  void item_failed(const Item& item, const std::string& error) override {
    log_error(fmt::format("{}: {}", item.output, error));
  }
  void warning(const std::string& text) override { log_warning(text); }
  void detail(const std::string& text) override { log_detail(text); }
  void note(const std::string& text) override { log_info(text); }
};

class PlainProgress : public FleetProgress {
 public:
  void begin(const FleetRun& run) override {
    counts_ = {.name = run.name, .items = run.items, .reused = run.reused};
    workers_.clear();
    if (run.reused > 0 && run.items)
      log_info(fmt::format("{}: {} of {} done before", run.name, run.reused, *run.items));
  }
  void worker_changed(const WorkerView& worker) override {
    const auto [known, added] = workers_.try_emplace(worker.name, WorkerState::starting);
    if (std::exchange(known->second, worker.state) == worker.state) return;
    if (worker.state == WorkerState::loading) log_info(from(worker.name) + "loading the model");
  }
  void item_started(const Item& item, const WorkerView& worker) override {
    if (workers_.size() > 1) made_by_[item.id] = worker.name;
  }
  void item_done(const Item& item, const Record& record) override {
    ++counts_.done;
    const std::string how =
        record.attempt.cached ? "cached" : fmt::format("{:.2f}s", record.attempt.seconds());
    const auto left = counts_.seconds_left();
    log_info(fmt::format("{}{} {} {}{}", place(), from(maker(item)), item.output, how,
                         left ? fmt::format(" {} left", duration(*left)) : ""));
  }
  void item_failed(const Item& item, const std::string& error) override {
    ++counts_.failed;
    maker(item);
    log_error(fmt::format("{}: {}", item.output, error));
  }
  void item_retried(const Item& item, const std::string& why) override {
    maker(item);
    log_info(fmt::format("{}: tried again: {}", item.output, why));
  }
  void warning(const std::string& text) override { log_warning(text); }
  void detail(const std::string& text) override { log_detail(text); }
  void note(const std::string& text) override { log_info(text); }
  void end(const RunTotals& totals) override { log_info(summary(counts_.name, totals)); }

 private:
  std::string place() const {
    return counts_.items ? fmt::format("[{}/{}] ", counts_.made(), *counts_.items)
                         : fmt::format("[{}] ", counts_.made());
  }
  // Where there is one worker only, it goes without saying.
  std::string from(const std::string& worker) const {
    return workers_.size() > 1 && !worker.empty() ? worker + ": " : "";
  }
  // And forgets it.
  std::string maker(const Item& item) {
    const auto node = made_by_.extract(item.id);
    return node.empty() ? "" : node.mapped();
  }

  RunCounts counts_;
  std::map<std::string, WorkerState> workers_;
  std::map<std::string, std::string> made_by_;  // item id -> worker, of items in hand
};

}  // namespace

std::string duration(double seconds) {
  const auto whole = static_cast<int64_t>(seconds + 0.5);
  if (whole < 60) return fmt::format("{}s", whole);
  if (whole < 3600) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  return fmt::format("{}h{:02}m", whole / 3600, whole / 60 % 60);
}

std::string rate(int64_t count, double seconds) {
  if (count == 0 || seconds <= 0) return "";
  const double each_second = static_cast<double>(count) / seconds;
  if (each_second >= 1) return fmt::format("{:.1f}/s", each_second);
  if (each_second * 60 >= 1) return fmt::format("{:.1f}/min", each_second * 60);
  return fmt::format("{:.1f}/h", each_second * 3600);
}

std::optional<double> RunCounts::seconds_left() const {
  if (!items || done == 0) return std::nullopt;
  return static_cast<double>(*items - made()) * watch.seconds() / static_cast<double>(done);
}

std::string summary(const std::string& name, const RunTotals& t) {
  std::string line = fmt::format("{}: {} of {} done", name, t.done + t.reused, t.items);
  if (t.reused > 0) line += fmt::format(" ({} from before)", t.reused);
  if (t.cached > 0) line += fmt::format(" ({} from the cache)", t.cached);
  if (t.failed > 0) line += fmt::format(", {} failed", t.failed);
  if (t.pending > t.failed) line += fmt::format(", {} not made", t.pending - t.failed);
  return line + fmt::format(", in {}", t.seconds < 10 ? fmt::format("{:.1f}s", t.seconds)
                                                      : duration(t.seconds));
}

bool is_live(const std::string& mode) {
  if (mode != "auto") return mode == "bar";
  const char* terminal = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) && std::string_view(terminal ? terminal : "") != "dumb";
}

std::unique_ptr<FleetProgress> make_progress(const std::string& mode) {
  if (mode == "off") return std::make_unique<SilentProgress>();
  if (mode == "json") return make_json_progress();
  if (is_live(mode)) return make_live_progress();
  return std::make_unique<PlainProgress>();
}

}  // namespace backlot
