#include "fleet/supervisor.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <cmath>

#include "base/machine.h"

namespace backlot {
namespace {

constexpr int longest_wait_milliseconds = 100;
constexpr double seconds_between_ticks = 1;
// Within what rented machines give (StopSignal), with time left to write the manifest.
constexpr double stop_within_seconds = 4.0;
constexpr int most_failed_starts = 3, most_ends_in_row = 8;
// Killed from outside while they start: by a person it ends soon, by a memory watchdog never.
constexpr int kills_without_pause = 5, most_killed_starts = 200;
constexpr double longest_pause = 10, longest_pause_after_kill = 2;
// Workers whose items take less than this share of another's time are much faster than that one.
constexpr double much_faster = 0.5;

}  // namespace

std::vector<std::string> worker_names(const std::vector<std::string>& devices) {
  std::map<std::string, int> seen;
  std::vector<std::string> names;
  for (const auto& device : devices) {
    std::string name = device;
    std::erase(name, ':');
    names.push_back(fmt::format("{}-{}", name, seen[device]++));
  }
  return names;
}

Supervisor::Supervisor(FleetOptions options, FleetProgress& progress, const StopSignal& stop)
    : options_(std::move(options)),
      progress_(progress),
      stop_(stop),
      hangs_(options_.hang_seconds) {
  const auto on_cpu = std::max<int64_t>(workers_on("cpu"), 1);
  const int share = std::max(1, usable_processors() / static_cast<int>(on_cpu));
  const auto names = worker_names(options_.devices);
  for (size_t i = 0; i < names.size(); ++i) {
    auto command = options_.command;
    command.insert(command.end(),
                   {"--name", names[i], "--device", options_.devices[i], "--threads",
                    std::to_string(options_.threads > 0 ? options_.threads : share)});
    const int64_t sharing = workers_on(options_.devices[i]);
    command.insert(command.end(), {"--sharing", std::to_string(sharing)});
    if (options_.memory_limit)
      if (const auto most = options_.memory_limit(options_.devices[i], sharing))
        command.insert(command.end(), {"--memory-limit", std::to_string(*most)});
    workers_.push_back(std::make_unique<FleetWorker>(
        names[i], options_.devices[i], std::move(command), options_.inherited, progress_, hangs_));
    workers_.back()->start();
  }
}

Supervisor::~Supervisor() = default;

void Supervisor::run(WorkQueue& queue) {
  try {
    while (!queue.finished()) {
      if (stop_.requested()) throw Interrupted();
      tick(queue);
      restart_due();
      offer_work(queue);
      wait_for_news();
      listen(queue);
      end_hung();
      bury_ended(queue);
    }
  } catch (...) {
    stop_all(queue);
    throw;
  }
}

void Supervisor::tick(WorkQueue& queue) {
  if (since_tick_.seconds() < seconds_between_ticks) return;
  since_tick_ = Stopwatch();
  queue.tick();
  progress_.devices_read(monitor_.read());
  for (const auto& worker : workers_) worker->measure(monitor_.find(worker->view().device));
  progress_.tick();
}

void Supervisor::offer_work(WorkQueue& queue) {
  for (const auto& worker : workers_) {
    if (!worker->free()) continue;
    if (const auto work = queue.take(offer_of(*worker))) worker->hand(*work, queue);
  }
}

WorkerOffer Supervisor::offer_of(const FleetWorker& worker) const {
  WorkerOffer offer{.worker = worker.name(),
                    .device = worker.view().device,
                    .holds = worker.holds(),
                    .empty_handed = worker.empty_handed(),
                    .workers = 0,
                    .seconds_each = worker.seconds_each()};
  double faster_rate = 0;
  for (const auto& other : workers_) {
    if (other->view().state == WorkerState::set_aside) continue;
    ++offer.workers;
    const double each = other->ready() ? other->seconds_each() : 0;
    if (each > 0 && each < much_faster * offer.seconds_each) faster_rate += 1 / each;
  }
  if (faster_rate > 0) offer.faster_seconds_each = 1 / faster_rate;
  offer.most_together = [this, device = offer.device](const Item& item) {
    return options_.most_together(item, device, workers_on(device));
  };
  return offer;
}

int64_t Supervisor::workers_on(const std::string& device) const {
  return std::ranges::count(options_.devices, device);
}

void Supervisor::wait_for_news() const {
  std::vector<pollfd> sources;
  for (const auto& worker : workers_) {
    if (!worker->alive()) continue;
    PollChannel& channel = worker->process()->channel();
    const auto wanted = static_cast<short>(POLLIN | (channel.has_unsent() ? POLLOUT : 0));
    if (!channel.closed()) sources.push_back({channel.fd(), wanted, 0});
    sources.push_back({worker->process()->end_fd(), POLLIN, 0});
  }
  ::poll(sources.data(), sources.size(), longest_wait_milliseconds);
}

void Supervisor::listen(WorkQueue& queue) {
  for (const auto& worker : workers_)
    if (worker->alive()) worker->listen(queue);
}

void Supervisor::end_hung() {
  for (const auto& worker : workers_) {
    const auto why = worker->hung();
    if (!why || hung_.contains(worker.get())) continue;
    hung_[worker.get()] = *why;
    worker->process()->signal(SIGKILL);
  }
}

void Supervisor::bury_ended(WorkQueue& queue) {
  // Whoever asked us to stop may have asked the workers too; that they do is no loss to speak of.
  if (stop_.requested()) return;
  for (const auto& worker : workers_) {
    if (!worker->alive()) continue;
    const auto hung = hung_.find(worker.get());
    const auto end = worker->bury(queue, hung == hung_.end() ? "" : hung->second);
    if (!end) continue;
    if (hung != hung_.end()) hung_.erase(hung);
    take_loss(*worker, *end, queue);
    decide_on_restart(*worker, *end);
  }
}

void Supervisor::take_loss(FleetWorker& worker, const FleetWorker::End& end, WorkQueue& queue) {
  if (end.failure && end.failure->kind == "storage")
    throw EnvironmentError(end.failure->where, end.failure->what, end.failure->mend);
  if (end.failure && end.failure->kind == "model")
    throw LoadError(end.failure->where, end.failure->what, end.failure->mend);
  progress_.warning(fmt::format(
      "{} {}{}", worker.name(), end.loss.reason,
      end.in_hand.empty()
          ? ""
          : fmt::format("; {} item(s) that it had in hand are tried again", end.in_hand.size())));
  if (end.in_hand.empty()) return;
  const auto given_up = queue.lost(end.in_hand, end.loss);
  // The items were at fault, then, if this worker can make others.
  if (!given_up.empty() && worker.view().done > 0) worker.ends_in_row = 0;
  for (const Item* item : end.in_hand) {
    const auto gone = std::ranges::find(given_up, item, &GivenUp::item);
    if (gone != given_up.end()) {
      progress_.item_failed(*item, gone->reason);
      continue;
    }
    progress_.item_retried(*item, worker.name() + " " + end.loss.reason);
    progress_.item_queued(*item);
  }
}

// One that ends again and again is set aside; one that was killed from outside is not to blame, and
// only starts that never get anywhere are bounded.
void Supervisor::decide_on_restart(FleetWorker& worker, const FleetWorker::End& end) {
  if (end.failure) last_failure_ = end.failure;
  if (end.loss.own_fault && !end.loss.out_of_memory) ++worker.ends_in_row;
  worker.starts_in_row = end.was_ready ? 0 : worker.starts_in_row + 1;
  const int most = end.was_ready ? most_ends_in_row : most_failed_starts;
  if (worker.ends_in_row >= most || worker.starts_in_row >= most_killed_starts) {
    set_aside(worker, std::max(worker.ends_in_row, worker.starts_in_row), end.loss.reason);
    return;
  }
  const auto growing = [](double first, int times, double longest) {
    return times <= 0 ? 0 : std::min(longest, first * std::pow(2, std::min(times, 20)));
  };
  const double pause =
      std::max(growing(0.125, worker.ends_in_row - 1, longest_pause),
               growing(0.05, worker.starts_in_row - kills_without_pause, longest_pause_after_kill));
  worker.restart_at = clock_.seconds() + pause;
}

void Supervisor::set_aside(FleetWorker& worker, int times, const std::string& last) {
  const std::string reason =
      fmt::format("it ended {} times in a row; the last time it {}", times, last);
  progress_.warning(fmt::format("{} is set aside: {}", worker.name(), reason));
  worker.set_aside(reason);
  const auto works = [](const auto& each) { return each->view().state != WorkerState::set_aside; };
  if (std::ranges::none_of(workers_, works)) give_up();
}

void Supervisor::give_up() {
  if (last_failure_)
    throw EnvironmentError(last_failure_->where, last_failure_->what, last_failure_->mend);
  throw EnvironmentError("devices",
                         "no worker could be kept running: " + workers_.back()->view().reason,
                         "see 'backlot health', or take other devices with --devices; then run the "
                         "same command again");
}

void Supervisor::restart_due() {
  for (const auto& worker : workers_)
    if (!worker->alive() && worker->view().state == WorkerState::ended &&
        clock_.seconds() >= worker->restart_at)
      worker->start();
}

// What ends in time counts; what does not is killed, and given back like the rest.
void Supervisor::stop_all(WorkQueue& queue) {
  const Stopwatch since;
  for (const auto& worker : workers_)
    if (worker->alive()) worker->ask_to_stop();
  const auto alive = [](const auto& worker) { return worker->alive(); };
  for (bool killed = false; std::ranges::any_of(workers_, alive);) {
    const double waited = std::max(since.seconds(), stop_.seconds_since());
    if (!killed && (stop_.urgent() || waited > stop_within_seconds)) {
      killed = true;
      for (const auto& worker : workers_)
        if (worker->alive()) worker->process()->signal(SIGKILL);
    }
    wait_for_news();
    for (const auto& worker : workers_)
      if (worker->alive()) take_last(*worker, queue);
  }
}

void Supervisor::take_last(FleetWorker& worker, WorkQueue& queue) {
  try {
    worker.listen(queue);
    if (const auto end = worker.bury(queue, ""))
      for (const Item* item : end->in_hand) queue.give_back(*item);
  } catch (const Error& error) {
    // What is on disk is found there by the next run; what stopped this one matters more.
    progress_.warning(error.what());
  }
}

}  // namespace backlot
