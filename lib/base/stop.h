// SIGINT, SIGTERM and SIGHUP as a request to stop that long work can look at.
#pragma once

#include <atomic>
#include <functional>

#include "base/error.h"

namespace backlot {

// Rented machines give about five seconds between the first signal and the last. So: a first signal
// asks; a second one is urgent(). After `grace_seconds`, or soon after a second signal, the process
// ends by force, once LastWords are said. Files are written so that this loses nothing that was
// finished.
class StopSignal {
 public:
  static constexpr double grace_seconds = 4.5;

  // Blocks the signals in this thread and those it starts later, and waits for them in a thread of
  // its own. Call once, early in main, before other threads exist. SIGPIPE is ignored from here on;
  // SIGHUP stays ignored if it was (nohup).
  static StopSignal& install();

  bool requested() const { return signal_ != 0; }
  bool urgent() const { return urgent_; }  // don't wait for what is in hand
  double seconds_since() const;            // since the first signal; 0 if none came
  ExitCode exit_code() const;              // interrupted or terminated

 private:
  StopSignal() = default;
  void wait_for_signals(bool hangup);

  std::atomic<int> signal_{0};
  std::atomic<bool> urgent_{false};
  std::atomic<double> at_{0};
};

// What to do before the process is ended by force: called in a thread of its own, while all others
// go on, and waited for a second or two at most. As long as there are such words, a second signal
// leaves the work a moment to end by itself. One at a time; its destructor waits while it is said.
class LastWords {
 public:
  explicit LastWords(std::function<void()> words);
  ~LastWords();
  LastWords(const LastWords&) = delete;
  LastWords& operator=(const LastWords&) = delete;
};

}  // namespace backlot
