// Runs the built binary as a user would: arguments in, exit status and both streams out.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace backlot {

struct CommandResult {
  int exit_code = -1;  // -1 if a signal ended it
  int signal = 0;
  std::string out, err;
};

struct CommandOptions {
  std::filesystem::path folder;                    // where it runs; empty: here
  std::map<std::string, std::string> environment;  // added to ours
  std::string input;                               // standard input
};

// A running process. Its streams go to files, so that nothing blocks.
class Process {
 public:
  Process(const std::vector<std::string>& arguments, const CommandOptions& options = {});
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void send(int signal) const;
  bool running();              // without waiting
  std::string errors() const;  // what it has written to standard error so far
  std::string output() const;  // and to standard output
  CommandResult wait();        // reaps; call once
  pid_t pid() const { return pid_; }

 private:
  CommandResult collect(int status);

  std::filesystem::path streams_;
  pid_t pid_ = -1;
  bool reaped_ = false;
  int status_ = 0;
};

// BACKLOT_BINARY with these arguments, to its end.
CommandResult backlot(const std::vector<std::string>& arguments,
                      const CommandOptions& options = {});

// Any program (the first argument), to its end.
CommandResult run_program(const std::vector<std::string>& arguments,
                          const CommandOptions& options = {});

}  // namespace backlot
