// Progress as lines at the bottom of a terminal that are drawn again and again.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "live_view.h"
#include "log.h"
#include "progress.h"

namespace backlot {
namespace {

// More often nobody can read, and a slow line to the terminal could not follow.
constexpr double seconds_between_draws = 0.1;

bool colour_wanted() {
  const char* refused = std::getenv("NO_COLOR");  // https://no-color.org
  return !refused || !*refused;
}

class LiveProgress : public FleetProgress {
 public:
  ~LiveProgress() override { show_live_lines({}); }

  void begin(const FleetRun& run) override {
    state_ = {};
    watched_.clear();
    state_.counts = {.name = run.name, .items = run.items, .reused = run.reused};
    draw();
  }
  void worker_changed(const WorkerView& worker) override {
    Watched& watched = watched_of(worker.name);
    LiveWorker& shown = state_.workers[watched.place];
    const bool other_state = shown.view.state != worker.state;
    if (!watched.ready && worker.state != WorkerState::starting) watched.ready.emplace();
    shown.item = worker.in_hand.empty() ? "" : worker.in_hand.front()->output;
    shown.view = worker;
    shown.view.in_hand.clear();
    other_state ? draw() : draw_if_due();
  }
  void item_queued(const Item&) override { ++state_.counts.waiting; }
  void item_started(const Item&, const WorkerView&) override {
    if (state_.counts.waiting > 0) --state_.counts.waiting;
  }
  void item_done(const Item&, const Record&) override {
    ++state_.counts.done;
    draw_if_due();
  }
  void item_failed(const Item& item, const std::string& error) override {
    ++state_.counts.failed;
    log_error(fmt::format("{}: {}", item.output, error));
    draw();
  }
  void item_retried(const Item& item, const std::string& why) override {
    log_info(fmt::format("{}: tried again: {}", item.output, why));
  }
  void warning(const std::string& text) override { log_warning(text); }
  void detail(const std::string& text) override { log_detail(text); }
  void note(const std::string& text) override { log_info(text); }
  void tick() override { draw_if_due(); }
  void end(const RunTotals& totals) override {
    show_live_lines({});
    log_info(summary(state_.counts.name, totals));
  }

 private:
  struct Watched {
    std::string name;
    size_t place = 0;                // in state_.workers
    std::optional<Stopwatch> ready;  // since it was first ready
  };

  Watched& watched_of(const std::string& name) {
    const auto known = std::ranges::find(watched_, name, &Watched::name);
    if (known != watched_.end()) return *known;
    state_.workers.emplace_back();
    return watched_.emplace_back(Watched{name, state_.workers.size() - 1, {}});
  }

  void draw_if_due() {
    if (since_drawn_.seconds() >= seconds_between_draws) draw();
  }

  void draw() {
    state_.seconds = state_.counts.watch.seconds();
    for (const Watched& watched : watched_)
      if (watched.ready) state_.workers[watched.place].seconds = watched.ready->seconds();
    show_live_lines(live_lines(state_, terminal_size(), colour_));
    since_drawn_ = Stopwatch();
  }

  LiveState state_;
  std::vector<Watched> watched_;
  Stopwatch since_drawn_;
  bool colour_ = colour_wanted();
};

}  // namespace

std::unique_ptr<FleetProgress> make_live_progress() { return std::make_unique<LiveProgress>(); }

}  // namespace backlot
