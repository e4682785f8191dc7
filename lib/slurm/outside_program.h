// Runs a program of the machine's to its end and keeps what it said.
#pragma once

#include <string>
#include <vector>

#include "base/stop.h"

namespace backlot {

struct ProgramResult {
  bool found = true;    // false: there is no such program on PATH
  bool in_time = true;  // false: it was killed for taking too long
  int exit_code = -1;   // -1: a signal ended it
  std::string out, err;

  bool succeeded() const { return exit_code == 0; }
};

struct ProgramOptions {
  double seconds = 60;  // it is killed after that
  // Looked at while it runs; the program is then killed and Interrupted thrown. Null: it runs on.
  const StopSignal* stop = nullptr;
  int inherited = -1;               // a descriptor that it keeps open, besides its streams
  std::vector<std::string> absent;  // environment variables that it does not see
};

// `arguments` begins with the program's name. It gets an empty standard input, and signals that a
// terminal sends us don't reach it.
ProgramResult run_outside(const std::vector<std::string>& arguments,
                          const ProgramOptions& options = {});

}  // namespace backlot
