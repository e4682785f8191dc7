#include "base/stop.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

namespace backlot {
namespace {

constexpr int same_request_milliseconds = 200;
// After a second signal: for the work to end by itself, and then for the last words.
constexpr double ending_seconds = 1.5, last_words_seconds = 2;
// All of it, since the first signal: then the machine may be gone.
constexpr double gone_after_seconds = 4.9;

double monotonic_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

sigset_t stop_signals(bool hangup) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  if (hangup) sigaddset(&set, SIGHUP);
  return set;
}

timespec as_timespec(double seconds) {
  const auto whole = static_cast<time_t>(seconds);
  return {whole, static_cast<long>((seconds - static_cast<double>(whole)) * 1e9)};
}

// Never destroyed: the thread that says the words may outlive main().
struct Words {
  std::mutex mutex;
  std::function<void()> words;
};

Words& last_words() {
  static Words& words = *new Words;
  return words;
}

bool has_last_words() {
  const std::lock_guard lock(last_words().mutex);
  return static_cast<bool>(last_words().words);
}

void say_last_words(double seconds) {
  auto said = std::make_shared<std::promise<void>>();
  const auto over = said->get_future();
  std::thread([said] {
    const std::lock_guard lock(last_words().mutex);
    try {
      if (last_words().words) last_words().words();
    } catch (...) {
      // The process ends anyway; what is on disk tells the next run.
    }
    said->set_value();
  }).detach();
  over.wait_for(std::chrono::duration<double>(seconds));
}

}  // namespace

LastWords::LastWords(std::function<void()> words) {
  const std::lock_guard lock(last_words().mutex);
  last_words().words = std::move(words);
}

LastWords::~LastWords() {
  const std::lock_guard lock(last_words().mutex);
  last_words().words = nullptr;
}

StopSignal& StopSignal::install() {
  static StopSignal instance;
  ::signal(SIGPIPE, SIG_IGN);
  struct sigaction hangup {};
  ::sigaction(SIGHUP, nullptr, &hangup);
  const bool take_hangup = hangup.sa_handler != SIG_IGN;
  const sigset_t set = stop_signals(take_hangup);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::thread([take_hangup] { instance.wait_for_signals(take_hangup); }).detach();
  return instance;
}

void StopSignal::wait_for_signals(bool hangup) {
  const sigset_t set = stop_signals(hangup);
  int signal = 0;
  while (::sigwait(&set, &signal) != 0) {
  }
  at_ = monotonic_seconds();
  signal_ = signal;
  // One request often comes twice: timeout(1), for one, signals its child and then the whole group.
  std::this_thread::sleep_for(std::chrono::milliseconds(same_request_milliseconds));
  const timespec none{};
  while (::sigtimedwait(&set, nullptr, &none) > 0) {
  }
  const timespec grace = as_timespec(grace_seconds - same_request_milliseconds / 1e3);
  if (::sigtimedwait(&set, nullptr, &grace) > 0) {
    urgent_ = true;
    const double left = std::min(ending_seconds, grace_seconds - seconds_since());
    if (has_last_words() && left > 0)
      std::this_thread::sleep_for(std::chrono::duration<double>(left));
  }
  say_last_words(std::clamp(gone_after_seconds - seconds_since(), 0.1, last_words_seconds));
  ::_exit(static_cast<int>(exit_code()));
}

double StopSignal::seconds_since() const { return requested() ? monotonic_seconds() - at_ : 0; }

ExitCode StopSignal::exit_code() const {
  return signal_ == SIGINT ? ExitCode::interrupted : ExitCode::terminated;
}

}  // namespace backlot
