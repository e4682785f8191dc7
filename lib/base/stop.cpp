#include "base/stop.h"

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <thread>

namespace backlot {
namespace {

constexpr int same_request_milliseconds = 200;

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

}  // namespace

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
  const double left = grace_seconds - same_request_milliseconds / 1e3;
  const timespec grace{
      static_cast<time_t>(left),
      static_cast<long>((left - static_cast<double>(static_cast<time_t>(left))) * 1e9)};
  ::sigtimedwait(&set, nullptr, &grace);
  ::_exit(static_cast<int>(exit_code()));
}

double StopSignal::seconds_since() const { return requested() ? monotonic_seconds() - at_ : 0; }

ExitCode StopSignal::exit_code() const {
  return signal_ == SIGINT ? ExitCode::interrupted : ExitCode::terminated;
}

}  // namespace backlot
