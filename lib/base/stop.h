// SIGINT, SIGTERM and SIGHUP as a request to stop that long work can look at.
#pragma once

#include <atomic>

#include "base/error.h"

namespace backlot {

// Rented machines give about five seconds between the first signal and the last. So: a first signal
// asks; after `grace_seconds`, or at a second signal, the process ends at once. Files are written
// so that this loses nothing that was finished.
class StopSignal {
 public:
  static constexpr double grace_seconds = 4.5;

  // Blocks the signals in this thread and those it starts later, and waits for them in a thread of
  // its own. Call once, early in main, before other threads exist. SIGPIPE is ignored from here on;
  // SIGHUP stays ignored if it was (nohup).
  static StopSignal& install();

  bool requested() const { return signal_ != 0; }
  double seconds_since() const;  // since the first signal; 0 if none came
  ExitCode exit_code() const;    // interrupted or terminated

 private:
  StopSignal() = default;
  void wait_for_signals(bool hangup);

  std::atomic<int> signal_{0};
  std::atomic<double> at_{0};
};

}  // namespace backlot
