// A process of this program that does one thing and ends: what a supervisor must not do itself,
// since it needs LibTorch.
#pragma once

#include <exception>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/stop.h"

namespace backlot {

// Another process of ours failed and has said why; its exit code is left to be carried on.
struct ToldAlready : std::exception {
  explicit ToldAlready(ExitCode its_code) : code(its_code) {}
  const char* what() const noexcept override { return "failed, as another process has told"; }
  ExitCode code;
};

// Runs `command`, which begins with the program's path, to its end. It writes to our standard
// error; what it prints as its result is dropped. It is asked to stop when we are, and killed if it
// does not in time, or if we die; the calling thread has to live as long as it. Throws Interrupted
// once a stop is asked for, ToldAlready with its exit code if that is not 0, EnvironmentError if it
// can't be started or something else ended it.
void run_own_child(std::vector<std::string> command, const StopSignal& stop);

}  // namespace backlot
