#include "progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>

#include "base/json.h"
#include "base/text.h"
#include "base/time.h"
#include "log.h"

namespace backlot {
namespace {

std::string duration(double seconds) {
  const auto whole = static_cast<int64_t>(seconds + 0.5);
  if (whole < 60) return fmt::format("{}s", whole);
  if (whole < 3600) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  return fmt::format("{}h{:02}m", whole / 3600, whole / 60 % 60);
}

// Counts, and the time that is left at the rate so far.
class Counting : public RunProgress {
 public:
  void begin(const Plan& plan, int64_t items, int64_t reused) override {
    const std::lock_guard lock(mutex_);
    name_ = plan.name;
    items_ = items;
    reused_ = reused;
    done_ = failed_ = 0;
    watch_ = Stopwatch();
    began();
  }
  void stage(std::string_view name) override {
    const std::lock_guard lock(mutex_);
    stage_ = name;
    staged();
  }
  void step(int64_t done, int64_t total, int64_t batch) override {
    const std::lock_guard lock(mutex_);
    stepped(done, total, batch);
  }
  void item_done(const Item& item, double seconds) override {
    const std::lock_guard lock(mutex_);
    ++done_;
    finished(item, seconds);
  }
  void item_failed(const Item& item, const std::string& error) override {
    const std::lock_guard lock(mutex_);
    ++failed_;
    failed(item, error);
  }
  void warning(const std::string& text) override {
    const std::lock_guard lock(mutex_);
    clear();
    log_warning(text);
  }
  void note(const std::string& text) override {
    const std::lock_guard lock(mutex_);
    clear();
    log_info(text);
  }
  void end(const RunTotals& totals) override {
    const std::lock_guard lock(mutex_);
    clear();
    ended(totals);
  }

 protected:
  virtual void began() {}
  virtual void staged() {}
  virtual void stepped(int64_t, int64_t, int64_t) {}
  virtual void finished(const Item&, double) {}
  virtual void failed(const Item& item, const std::string& error) {
    clear();
    log_error(fmt::format("{}: {}", item.output, error));
  }
  virtual void clear() {}
  virtual void ended(const RunTotals&) {}

  int64_t made() const { return reused_ + done_ + failed_; }
  std::string left() const {
    if (done_ == 0) return "";
    const double rate = static_cast<double>(done_) / watch_.seconds();
    return duration(static_cast<double>(items_ - made()) / rate) + " left";
  }
  std::string summary(const RunTotals& t) const {
    std::string line = fmt::format("{}: {} of {} done", name_, t.done + t.reused, t.items);
    if (t.reused > 0) line += fmt::format(" ({} from before)", t.reused);
    if (t.failed > 0) line += fmt::format(", {} failed", t.failed);
    if (t.pending > t.failed) line += fmt::format(", {} not made", t.pending - t.failed);
    return line + fmt::format(", in {}", t.seconds < 10 ? fmt::format("{:.1f}s", t.seconds)
                                                        : duration(t.seconds));
  }

  std::mutex mutex_;
  std::string name_, stage_;
  int64_t items_ = 0, reused_ = 0, done_ = 0, failed_ = 0;
  Stopwatch watch_;
};

class PlainProgress : public Counting {
  void began() override {
    if (reused_ > 0) log_info(fmt::format("{}: {} of {} done before", name_, reused_, items_));
  }
  void staged() override {
    if (stage_ == "load") log_info("loading the model");
  }
  void finished(const Item& item, double seconds) override {
    log_info(fmt::format("[{}/{}] {} {:.2f}s {}", made(), items_, item.output, seconds, left()));
  }
  void ended(const RunTotals& totals) override { log_info(summary(totals)); }
};

class BarProgress : public Counting {
  void began() override { draw(""); }
  void staged() override { draw(stage_); }
  void stepped(int64_t done, int64_t total, int64_t batch) override {
    draw(batch > 1 ? fmt::format("{} {}/{} ×{}", stage_, done, total, batch)
                   : fmt::format("{} {}/{}", stage_, done, total));
  }
  void finished(const Item&, double) override { draw(stage_); }
  void clear() override { write_stderr("\r\x1b[K"); }
  void ended(const RunTotals& totals) override { log_info(summary(totals)); }

  void draw(const std::string& doing) {
    winsize window{};
    const int columns =
        ::ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col ? window.ws_col : 80;
    const std::string head = fmt::format("{} {}/{} ", name_.substr(0, 24), made(), items_);
    const std::string tail = fmt::format(" {} {}", left(), doing);
    const int room = std::clamp(columns - static_cast<int>(head.size() + tail.size()) - 3, 0, 40);
    const auto full = items_ > 0 ? static_cast<int>(room * made() / items_) : room;
    std::string bar;
    for (int i = 0; i < room; ++i) bar += i < full ? "█" : "░";
    write_stderr(fmt::format("\r\x1b[K{}{}{}", head, bar, tail));
  }
};

class JsonProgress : public Counting {
  void began() override {
    write({{"event", "begin"}, {"run", name_}, {"items", items_}, {"reused", reused_}});
  }
  void staged() override { write({{"event", "stage"}, {"stage", stage_}}); }
  void stepped(int64_t done, int64_t total, int64_t batch) override {
    write(
        {{"event", "step"}, {"stage", stage_}, {"done", done}, {"total", total}, {"batch", batch}});
  }
  void finished(const Item& item, double seconds) override {
    write({{"event", "item"},
           {"status", "done"},
           {"index", item.index},
           {"id", item.id},
           {"output", item.output},
           {"seconds", seconds}});
  }
  void failed(const Item& item, const std::string& error) override {
    write({{"event", "item"},
           {"status", "failed"},
           {"index", item.index},
           {"id", item.id},
           {"output", item.output},
           {"error", error}});
  }
  void ended(const RunTotals& t) override {
    write({{"event", "end"},
           {"run", name_},
           {"items", t.items},
           {"reused", t.reused},
           {"done", t.done},
           {"failed", t.failed},
           {"pending", t.pending},
           {"seconds", t.seconds}});
  }
  void write(Json event) {
    event["time"] = utc_now();
    write_stderr(event.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  }
};

class SilentProgress : public Counting {};

}  // namespace

std::unique_ptr<RunProgress> make_progress(const std::string& mode) {
  if (mode == "off") return std::make_unique<SilentProgress>();
  if (mode == "json") return std::make_unique<JsonProgress>();
  if (mode == "bar" || (mode == "auto" && ::isatty(STDERR_FILENO)))
    return std::make_unique<BarProgress>();
  return std::make_unique<PlainProgress>();
}

namespace {

// The views of a single device's run, fed by a fleet.
class FleetAsRun : public FleetProgress {
 public:
  explicit FleetAsRun(std::unique_ptr<RunProgress> view) : view_(std::move(view)) {}
  void begin(const FleetRun& run) override {
    Plan plan;
    plan.name = run.name;
    view_->begin(plan, run.items.value_or(0), run.reused);
  }
  void end(const RunTotals& totals) override { view_->end(totals); }
  void item_done(const Item& item, const Record& record) override {
    view_->item_done(item, record.attempt.seconds());
  }
  void item_failed(const Item& item, const std::string& error) override {
    view_->item_failed(item, error);
  }
  void warning(const std::string& text) override { view_->warning(text); }
  void note(const std::string& text) override { view_->note(text); }

 private:
  std::unique_ptr<RunProgress> view_;
};

}  // namespace

std::unique_ptr<FleetProgress> make_fleet_progress(const std::string& mode) {
  return std::make_unique<FleetAsRun>(make_progress(mode));
}

}  // namespace backlot
