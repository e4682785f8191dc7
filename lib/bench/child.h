// Runs this program again, as a process of its own.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/files.h"
#include "base/stop.h"

namespace backlot {

// A folder under the system's temporary one that goes with the object.
class ScratchFolder {
 public:
  ScratchFolder();  // throws EnvironmentError
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// A started process; killed if it still runs when the object goes.
class Child {
 public:
  // This program with these arguments; what it says goes to `log`. Throws EnvironmentError.
  Child(const std::vector<std::string>& arguments, const fs::path& log);
  ~Child();
  Child(Child&& other) noexcept;
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  double started() const { return started_; }  // on trace_clock()
  bool ended();                                // without waiting
  // Throws EnvironmentError with the last line of its log if it failed.
  void check() const;

 private:
  fs::path log_;
  pid_t pid_ = -1;
  double started_ = 0;
  int status_ = -1;  // as waitpid gives it
};

// Waits until all have ended. Throws Interrupted once a stop is asked for, EnvironmentError if one
// failed; either way none is left running.
void wait_for(std::vector<Child>& children, const StopSignal& stop);

}  // namespace backlot
